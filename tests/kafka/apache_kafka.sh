#!/usr/bin/env bash
# Apache Kafka for the tests: one node, KRaft, on a free port of the loopback address.
#
#   tests/kafka/apache_kafka.sh start                  start it and print its port
#   tests/kafka/apache_kafka.sh stop                   stop it and delete its data
#   tests/kafka/apache_kafka.sh run -- COMMAND...      start it, run COMMAND with FRESHFLOW_TEST_KAFKA set, stop it
#   tests/kafka/apache_kafka.sh kill                   end it with SIGKILL; its data stay
#   tests/kafka/apache_kafka.sh restart                start it again after that, on the same port, with its data
#   tests/kafka/apache_kafka.sh pause | resume         SIGSTOP and SIGCONT: it holds its connections and says nothing
#
# All but `run` are for the node that `start` started or, within `run`, for the one that is in
# FRESHFLOW_TEST_KAFKA_NODE.
# The jars come from Maven Central once, into .cache/kafka of the checkout.
set -euo pipefail

KAFKA_VERSION=${KAFKA_VERSION:-4.1.1} # runs on Java 17
SCALA_VERSION=2.13
LOG4J_BRIDGE_VERSION=2.24.3 # of the log4j that this Kafka brings
START_SECONDS=90

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=$root/.cache/kafka
libs=$cache/libs-$KAFKA_VERSION
node=${FRESHFLOW_TEST_KAFKA_NODE:-$cache/node}

fail() {
    echo "apache_kafka.sh: $*" >&2
    exit 1
}

java_major() {
    java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p'
}

tools_are_there() {
    command -v mvn >/dev/null && command -v java >/dev/null && [ "$(java_major)" -ge 17 ]
}

require_tools() {
    tools_are_there && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get -qq update >&2
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y openjdk-17-jre-headless maven >&2
    fi
    tools_are_there || fail "install Java 17 or newer and Maven (on Debian: apt-get install openjdk-17-jre-headless maven)."
}

fetch() {
    [ -e "$libs/complete" ] && return
    require_tools
    mkdir -p "$libs"
    cat >"$libs/pom.xml" <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>freshflow.tests</groupId>
  <artifactId>broker</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_$SCALA_VERSION</artifactId>
      <version>$KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>$LOG4J_BRIDGE_VERSION</version>
    </dependency>
  </dependencies>
</project>
POM
    mvn -q -B -f "$libs/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$libs" >&2 ||
        fail "Maven could not fetch Apache Kafka $KAFKA_VERSION."
    touch "$libs/complete"
}

free_ports() {
    python3 - <<'PYTHON'
import socket

sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))
PYTHON
}

configure() { # PORT CONTROLLER_PORT
    mkdir -p "$node"
    cat >"$node/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$2
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2
advertised.listeners=PLAINTEXT://127.0.0.1:$1
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$node/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.check.interval.ms=1000
log.cleaner.backoff.ms=500
PROPERTIES
    cat >"$node/log4j2.properties" <<PROPERTIES
appender.file.type=File
appender.file.name=file
appender.file.fileName=$node/server.log
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{ISO8601} %p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.file.ref=file
PROPERTIES
}

kafka_java() { # CLASS ARGUMENT...; becomes the process, so call it in a subshell
    exec java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$node/log4j2.properties" \
        -cp "$libs/*" "$@"
}

answers() { # PORT
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

running() {
    [ -s "$node/pid" ] && kill -0 "$(cat "$node/pid")" 2>/dev/null
}

start() {
    running && fail "it runs already; stop it first."
    require_tools
    fetch
    rm -rf "$node"
    local port controller_port
    read -r port controller_port < <(free_ports)
    configure "$port" "$controller_port"
    (kafka_java kafka.tools.StorageTool format -c "$node/server.properties" -t freshflow-tests-000000) \
        >"$node/format.out" 2>&1 || fail "the storage was not formatted: $(tail -1 "$node/format.out")"
    launch "$port"
    echo "$port" | tee "$node/port"
}

launch() { # PORT
    local port=$1 waited=0
    (kafka_java kafka.Kafka "$node/server.properties") >>"$node/server.out" 2>&1 </dev/null &
    echo $! >"$node/pid"
    until answers "$port"; do
        running || fail "it did not start: $(tail -1 "$node/server.out")"
        [ $((waited += 1)) -le $((START_SECONDS * 5)) ] || fail "it did not answer within $START_SECONDS s."
        sleep 0.2
    done
}

signal() { # NAME
    running || fail "it does not run."
    kill "-$1" "$(cat "$node/pid")"
}

kill_it() {
    signal KILL
    while kill -0 "$(cat "$node/pid")" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$(cat "$node/pid")/status"; do
        sleep 0.05
    done
    rm "$node/pid" # it may stay a zombie, which looks alive
}

restart() {
    running && fail "it runs already; kill it first."
    [ -s "$node/port" ] || fail "it was never started."
    launch "$(cat "$node/port")"
}

stop() {
    if running; then
        local pid
        pid=$(cat "$node/pid")
        kill "$pid"
        for _ in $(seq 100); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -9 "$pid" 2>/dev/null || true
    fi
    rm -rf "$node"
}

run() {
    local port
    node=$cache/run-$$ # of its own, beside a started one
    trap stop EXIT
    trap 'exit 130' INT TERM
    port=$(start)
    echo "Apache Kafka $KAFKA_VERSION at 127.0.0.1:$port" >&2
    FRESHFLOW_TEST_KAFKA=127.0.0.1:$port FRESHFLOW_TEST_KAFKA_NODE=$node "$@"
}

case ${1:-} in
start) start ;;
stop) stop ;;
kill) kill_it ;;
restart) restart ;;
pause) signal STOP ;;
resume) signal CONT ;;
run)
    shift
    [ "${1:-}" = "--" ] && shift
    [ $# -gt 0 ] || fail "run needs a command."
    run "$@"
    ;;
*) fail "usage: apache_kafka.sh start | stop | kill | restart | pause | resume | run -- COMMAND..." ;;
esac
