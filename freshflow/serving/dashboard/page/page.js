// The live page. Ids and titles come from a stream that anybody may write to: they only ever become text nodes.

const REASONS = new Map([
  ["again", "came back to it before"],
  ["popular", "popular right now"],
  ["pinned", "pinned to its place"],
  ["fresh", "new: a place is kept for new items"],
  ["explore", "new: tried out"],
  ["searched", "chosen by others after this search"],
  ["engine", "where the search engine had it"],
  ["unknown", "found by the search engine"],
]);
const CAUSES = new Map([
  ["interaction", "because of what the user did"],
  ["request", "because it was asked for"],
  ["search", "as the answer to a search"],
  ["refresh", "because the world has changed"],
  ["identify", "because a guest is known now"],
]);
const SPOKEN_EVERY_MS = 10_000; // what a screen reader is told of lists that change by themselves
const LOST_AFTER_MS = 6_000; // without a word from the server, which has one every second
const OPEN_WITHIN_MS = 1_500; // or a connection counts as lost, too
const AGAIN_MS = 3_000; // from one attempt to connect to the next
const PATIENCE_MS = 5_000; // with a click that may change no list
const DAY_MS = 86_400_000;
const NEAR = 70; // pixels between marks that are told apart
const NAMED = 3; // items that a reason names
const GOLDEN = 137.508; // degrees from one hue to the next: neighbours differ, and none comes twice
const SVG = "http://www.w3.org/2000/svg";

const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const known = new Map(); // items by id, where there is a shop
const hues = new Map(); // by category
let about = {};
let source = null; // the connection
let heard = 0; // when the server was last heard of
let waitingSince = null; // for the connection to open
let triedAt = 0;
let skew = 0; // of the server's clock against ours, in ms
let user = new URLSearchParams(location.search).get("user"); // null follows the latest
let shown = null; // the list on the screen, as it came
let clicked = null; // {ts, at, title} of a click whose list has not come yet
let lines = null;
let failures = [];
let caughtUp = true;
let paused = false;
let held = new Map(); // what came meanwhile, the latest of each kind
let spokenAt = -Infinity;
let toSpeak = null;

// ---- Small things.

function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function draw(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const put = (id, ...children) => $(id).replaceChildren(...children);
const set = (id, text) => {
  if ($(id).textContent !== text) $(id).textContent = text;
};
const bdi = (text) => make("bdi", {}, text);
const count = (number) => number.toLocaleString("en");
const share = (number) => number.toFixed(3).replace(/^0/, "");

function rate(number) {
  if (number === 0) return "0";
  if (number < 0.1) return "< 0.1";
  return number < 100 ? number.toFixed(1) : count(Math.round(number));
}

function span(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 60) return `${Math.floor(s)}\u00a0s`;
  if (s < 3600) return `${Math.floor(s / 60)}\u00a0min`;
  return s < 172_800 ? `${Math.floor(s / 3600)}\u00a0h` : `${Math.floor(s / 86_400)}\u00a0days`;
}

function took(ms) {
  return ms < 1000 ? `${Math.round(ms)}\u00a0ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)}\u00a0s`;
}

// As exact as it takes to tell the ends of a span of so many milliseconds apart.
function time(ms, of) {
  const at = new Date(ms);
  const clock = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: of < 600_000 ? "2-digit" : undefined });
  return of > DAY_MS ? `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${clock}` : clock;
}

const now = () => Date.now() + skew;

function hue(category) {
  if (!hues.has(category)) hues.set(category, Math.round((20 + hues.size * GOLDEN) % 360));
  return String(hues.get(category));
}

function title(id) {
  return known.get(id)?.title ?? id;
}

function why(item) {
  const because = (item.because ?? []).slice(0, NAMED);
  if (item.reason === "together" && because.length) {
    return ["goes with ", ...because.flatMap((id, n) => [n ? ", " : "", bdi(title(id))])];
  }
  return [item.reason === "together" ? "goes with what came before" : (REASONS.get(item.reason) ?? item.reason)];
}

// ---- The connection.

function connect() {
  source?.close();
  triedAt = performance.now();
  waitingSince ??= triedAt;
  source = new EventSource(user === null ? "/live" : `/live?user=${encodeURIComponent(user)}`);
  source.onopen = () => {
    waitingSince = null;
    heard = performance.now();
  };
  source.onerror = () => {
    waitingSince ??= performance.now();
    showState();
  };
  for (const [name, take] of Object.entries(TAKERS)) {
    source.addEventListener(name, (event) => {
      heard = performance.now();
      const told = JSON.parse(event.data);
      if (paused && name !== "about") held.set(name, told);
      else take(told);
      showState();
    });
  }
}

function isLost() {
  const since = waitingSince ?? heard;
  return performance.now() - since > (waitingSince === null ? LOST_AFTER_MS : OPEN_WITHIN_MS);
}

function showState() {
  const lost = isLost();
  const state = lost ? "lost" : heard === 0 ? "waiting" : paused ? "paused" : caughtUp ? "live" : "reading";
  $("state").dataset.state = state;
  set("state", { lost: "Connection lost", waiting: "Connecting", reading: "Catching up", paused: "Paused", live: "Live" }[state]);
  document.body.classList.toggle("is-lost", lost);
  const wrong = lost
    ? ["The connection to the server is lost. What is shown is as it was; it goes on by itself once the server answers."]
    : failures;
  $("alert").hidden = wrong.length === 0;
  set("alert", wrong.join(" "));
}

// A browser gives up on some failures, and a server may hang: then it is for us to try again.
function watchConnection() {
  const again = source.readyState === EventSource.CLOSED || (waitingSince === null && isLost());
  if (again && performance.now() - triedAt > AGAIN_MS) {
    waitingSince ??= heard;
    connect();
  }
  showState();
}

function takeAbout(told) {
  about = told;
  const places = about.visitor === null ? ["reading ", bdi(about.lists.join(", "))] : ["a simulated shop, as it happens"];
  put("source", ...places);
  if (about.visitor !== null && $("shop").hidden) openShop();
  if (lines === null) takeLines({ quality: [], marks: [], latency: [] });
}

// ---- Figures.

function takeFigures(told) {
  skew = told.now_ms - Date.now();
  failures = told.failures;
  caughtUp = told.caught_up;
  set("events", told.events === null ? "–" : rate(told.events));
  set("events-note", eventsNote(told));
  set("lists", rate(told.lists));
  put("lists-note", sparkline(told.lists_minute), "the last minute");
  set("dead", told.dead_letters === null ? "–" : rate(told.dead_letters));
  set(
    "dead-note",
    told.dead_letters === null ? "give freshflow serve --dead-letters" : `${count(told.refusals)} read so far`,
  );
  showLatency(told);
  showQuality(told.partitions);
  showUsers(told.users);
  showPartitions(told.partitions);
  showLetters(told.letters);
  showAge();
}

function eventsNote(told) {
  if (about.metrics === null) return "give freshflow serve --metrics";
  if (told.partitions.length === 0) return "the job has not reported yet";
  const latest = Math.max(...told.partitions.map((one) => one.reported_ms));
  const total = told.partitions.reduce((sum, one) => sum + one.events, 0);
  return `${count(total)} in all, reported ${span(told.now_ms - latest)} ago`;
}

function showLatency(told) {
  const of = told.latency;
  put("latency", of === null ? "–" : took(of.shown_p50), ...(of === null ? [] : [make("small", {}, "median")]));
  if (of === null) {
    set("latency-note", told.archived ? "events are older than a minute: read from an archive" : "no list in the last minute");
  } else {
    set("latency-note", `99\u00a0% within ${took(of.shown_p99)}; computed in ${took(of.made_p50)}, 99\u00a0% in ${took(of.made_p99)}`);
  }
}

function showQuality(partitions) {
  const events = partitions.reduce((sum, one) => sum + one.events, 0);
  if (events === 0) {
    set("quality", "–");
    set("quality-note", about.metrics === null ? "give freshflow serve --metrics" : "the job has not reported yet");
    return;
  }
  const mean = (name) => partitions.reduce((sum, one) => sum + one[name] * one.events, 0) / events;
  const [ours, popular] = [mean("hr20"), mean("popularity_hr20")];
  set("quality", share(ours));
  const times = popular > 0 ? `${(ours / popular).toFixed(1)} times ` : "";
  set("quality-note", `${times}that of popularity alone, ${share(popular)}`);
}

function sparkline(counts) {
  const most = Math.max(1, ...counts);
  const path = counts.map((n, at) => `${at ? "L" : "M"}${at} ${(19 - (18 * n) / most).toFixed(1)}`).join("");
  return draw("svg", { viewBox: `0 0 ${counts.length - 1} 20`, preserveAspectRatio: "none", "aria-hidden": "true" }, draw("path", { d: path }));
}

function showUsers(users) {
  if (document.activeElement === $("user")) return; // what is being chosen from stands still
  const offered = about.visitor === null || about.visitor === undefined ? users : [about.visitor, ...users.filter((one) => one !== about.visitor)];
  put("users", ...offered.map((one) => make("option", { value: one })));
}

function table(caption, headings, rows) {
  const cells = (row, kind) => row.map((cell, n) => {
    const attributes = { scope: kind === "th" ? "col" : n === 0 ? "row" : null, class: headings[n][1] ? "text" : null };
    return make(kind === "th" || n === 0 ? "th" : "td", attributes, ...[cell].flat());
  });
  return make(
    "table",
    { class: "plain" },
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...cells(headings.map(([name]) => name), "th"))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells(row, "td")))),
  );
}

function none(...children) {
  return make("p", { class: "none" }, ...children);
}

function showPartitions(partitions) {
  if (partitions.length === 0) {
    put("partitions", about.metrics === null ? needsMetrics() : none(
      "No report yet. A partition reports after every ", make("code", {}, "metrics.report_every_events"), " events, 10,000 by default."));
    return;
  }
  const headings = [["No."], ["Events"], ["Lists"], ["of them refreshed"], ["Items"], ["Users"], ["HR@20 (popularity)"], ["Drifts"], ["Report"]];
  const rows = partitions.map((one) => [
    one.variant === null ? String(one.number) : [`${one.number} `, bdi(one.variant)],
    count(one.events), count(one.lists), count(one.refreshed), count(one.items), count(one.users),
    `${share(one.hr20)} (${share(one.popularity_hr20)})`, count(one.drifts), `${span(now() - one.reported_ms)}\u00a0ago`,
  ]);
  put("partitions", table("As each reported last; hit rates of its last 5,000 events", headings, rows));
}

function needsMetrics() {
  return none(
    "This comes from the job's reports: ", make("code", {}, "freshflow run … --metrics metrics.jsonl"), " writes them, ",
    make("code", {}, "freshflow serve … --metrics metrics.jsonl"), " reads them.");
}

function showLetters(letters) {
  if (about.dead_letters === null) {
    put("letters", none("Start ", make("code", {}, "freshflow serve … --dead-letters lists.dead-letters.jsonl"), " to see what the job refuses."));
  } else if (letters.length === 0) {
    put("letters", none("None: every record so far was an event."));
  } else {
    const rows = letters.map((one) => [
      `${span(now() - one.rejected_at)} ago`,
      bdi(one.reason),
      bdi(Object.entries(one.source).map(([name, value]) => (value === "-" ? "standard input," : `${name}\u00a0${value}`)).join(" ")),
    ]);
    put("letters", table("The latest records that were no events", [["When"], ["Why", true], ["Where", true]], rows));
  }
}

// ---- The list.

function takeList(told) {
  const before = shown !== null && shown.user === told.user ? shown.list : null;
  shown = { ...told, at: performance.now(), change: told.list === null ? null : changeFrom(before, told.list) };
  skew = told.now_ms - Date.now();
  set("whose", told.user);
  if (document.activeElement !== $("user") && $("user").value !== told.user) $("user").value = told.user;
  $("items").hidden = told.list === null;
  if (told.list !== null) showRows(told.list.items, before);
  showAge();
  if (told.list !== null && !noteClick()) speak(`The list of ${told.user}: ${shown.change.text}, first ${shown.change.first}.`);
}

function changeFrom(before, list) {
  const first = list.items.length ? title(list.items[0].item_id) : "nothing";
  if (before === null) return { first, text: `${list.items.length} items` };
  const ids = new Set(before.items.map((item) => item.item_id));
  const fresh = list.items.filter((item) => !ids.has(item.item_id)).length;
  return { first, text: fresh === 0 ? "the same items in another order" : `${fresh} new of ${list.items.length}` };
}

function showRows(items, before) {
  const places = before === null ? null : new Map(before.items.map((item, n) => [item.item_id, n]));
  const rows = new Map([...$("rows").children].map((row) => [row.itemId, row]));
  const tops = new Map([...rows].map(([id, row]) => [id, row.getBoundingClientRect().top]));
  const ordered = items.map((item, n) => row(item, n, places));
  put("rows", ...ordered);
  if (places === null || calm.matches || paused) return;
  for (const each of ordered) {
    const top = tops.get(each.itemId);
    if (top === undefined) {
      each.animate([{ background: "var(--wash)", opacity: 0.2 }, { background: "var(--wash)", opacity: 1, offset: 0.3 }, { background: "transparent", opacity: 1 }], 1400);
    } else if (Math.abs(top - each.getBoundingClientRect().top) > 1) {
      const from = top - each.getBoundingClientRect().top;
      each.animate([{ transform: `translateY(${from}px)` }, { transform: "none" }], { duration: 420, easing: "cubic-bezier(.2,.7,.2,1)" });
    }
  }
}

function row(item, n, places) {
  const entry = known.get(item.item_id);
  const name = entry === undefined
    ? [bdi(item.item_id)]
    : [swatch(entry.category), bdi(entry.title), " ", make("span", { class: "id" }, bdi(item.item_id))];
  const score = typeof item.score === "number" ? item.score.toFixed(3) : "";
  const made = make(
    "tr",
    { role: "row" },
    make("td", { class: "rank", role: "cell" }, String(n + 1), ...moved(item.item_id, n, places)),
    make("td", { role: "rowheader" }, ...name),
    make("td", { class: "why", role: "cell" }, ...why(item)),
    make("td", { class: "score", role: "cell" }, score),
  );
  made.itemId = item.item_id;
  return made;
}

function moved(id, n, places) {
  if (places === null) return [];
  const before = places.get(id);
  if (before === undefined) return [make("span", { class: "moved new" }, "new")];
  if (before === n) return [];
  const up = before > n;
  return [
    make("span", { class: up ? "moved up" : "moved" },
      make("span", { "aria-hidden": "true" }, `${up ? "↑" : "↓"}${Math.abs(before - n)}`),
      make("span", { class: "unseen" }, `${up ? "up" : "down"} ${Math.abs(before - n)}`)),
  ];
}

function swatch(category) {
  const node = make("span", { class: "swatch", "aria-hidden": "true" });
  node.style.setProperty("--hue", hue(category));
  return node;
}

function showAge() {
  if (shown === null) {
    const starting = about.visitor ? " The job may still be starting: the first start compiles for up to a minute." : "";
    set("about-list", `Nothing has been published yet.${starting}`);
    return;
  }
  const list = shown.list;
  if (list === null) {
    put("about-list", "There is no list of ", bdi(shown.user), ": they have done nothing yet, or were forgotten. It appears here once there is one.");
    return;
  }
  const model = list.model ?? {};
  const parts = [
    `Made ${span(now() - list.computed_at)} ago ${CAUSES.get(list.cause) ?? ""}`.trim(),
    `the event it knows happened ${span(now() - list.event_ts)} ago`,
    `partition ${model.partition}, after ${count(Number(model.updates))} updates of its model`,
  ];
  set("about-list", `${parts[0]}; ${parts[1]}. From ${parts[2]}.`);
}

// Whether the list on the screen is what has become of a click, which then has been told.
function noteClick() {
  if (clicked === null || shown?.user !== about.visitor || shown.list === null || shown.list.event_ts < clicked.ts) return false;
  put("outcome", "You clicked ", bdi(clicked.title), `. Your list has changed ${took(shown.at - clicked.at)} later: `,
    `${shown.change.text}, first `, bdi(shown.change.first), ".");
  clicked = null;
  return true;
}

// A list may change many times a second; somebody who listens is told at most every ten seconds, and then the latest.
function speak(text) {
  toSpeak = text;
  const wait = spokenAt + SPOKEN_EVERY_MS - performance.now();
  if (wait <= 0) sayNow();
}

function sayNow() {
  if (toSpeak === null || paused) return;
  set("told", toSpeak);
  toSpeak = null;
  spokenAt = performance.now();
}

function choose(chosen) {
  user = chosen;
  shown = null;
  put("rows");
  $("items").hidden = true;
  set("whose", chosen ?? "–");
  $("user").value = chosen ?? "";
  $("follow").setAttribute("aria-pressed", String(chosen === null));
  history.replaceState(null, "", chosen === null ? "/" : `/?user=${encodeURIComponent(chosen)}`);
  showAge();
  connect();
}

// ---- Charts.

function takeLines(told) {
  lines = told;
  drawQuality();
  drawLatency();
}

function drawQuality() {
  const { quality, marks } = lines;
  if (quality.length < 2) {
    put("hr", about.metrics === null ? needsMetrics() : none("A line is drawn once there are reports of some hundred events."));
    return;
  }
  const at = (n) => quality.map((one) => [one[0], one[n]]);
  const series = [
    { name: "ours, asked at the event", short: "ours", kind: "ours", points: at(2) },
    { name: "ours, last published", short: "published", kind: "published", points: at(3) },
    { name: "popularity alone", short: "popularity", kind: "popularity", points: at(4) },
  ];
  const most = Math.max(...series.flatMap((one) => one.points.map(([, y]) => y)));
  const top = Math.min(1, Math.ceil((most + 0.04) * 10) / 10);
  const ticks = Array.from({ length: Math.round(top * 10) + 1 }, (_, n) => n / 10).filter((_, n, all) => all.length < 8 || n % 2 === 0);
  const told = marks.length ? `Drift was noticed ${marks.length === 1 ? "once, at" : `${marks.length} times, last at`} ${time(marks.at(-1).event_ts, quality.at(-1)[0] - quality[0][0])}.` : "No drift was noticed.";
  const last = series.map((one) => `${one.name} ${share(one.points.at(-1)[1])}`).join(", ");
  drawChart("hr", series, { y: (v) => v / top, ticks, format: share, marks, label: `Hit rate over time. Latest: ${last}. ${told}`, marksTold: told });
}

function drawLatency() {
  const points = lines.latency;
  if (points.length < 2) {
    put("late", none("A line is drawn once there are lists of events that happen now, for some twenty seconds."));
    return;
  }
  const series = [
    { name: "half of the lists within", short: "50 %", kind: "p50", points: points.map((one) => [one[0], one[1]]) },
    { name: "99 % within", short: "99 %", kind: "p99", points: points.map((one) => [one[0], one[2]]) },
  ];
  const values = points.flatMap((one) => [one[1], one[2]]).map((v) => Math.max(1, v));
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values) * 1.01)));
  const ticks = Array.from({ length: high - low + 1 }, (_, n) => 10 ** (low + n));
  const y = (v) => (Math.log10(Math.max(1, v)) - low) / (high - low);
  const last = series.map((one) => `${one.name} ${took(one.points.at(-1)[1])}`).join(", ");
  drawChart("late", series, { y, ticks, format: took, marks: [], label: `Latency from event to list over time. Latest: ${last}.`, band: true });
}

function drawChart(id, series, { y, ticks, format, marks, label, marksTold = "", band = false }) {
  const box = $(id);
  const open = box.querySelector("details")?.open ?? false;
  const width = Math.max(260, box.clientWidth || 480);
  const [left, right, topEdge, height] = [46, 10, marks.length ? 26 : 10, 224];
  const bottom = height - 24;
  const first = Math.min(...series.map((one) => one.points[0][0]));
  const last = Math.max(...series.map((one) => one.points.at(-1)[0]));
  const px = (x) => left + ((x - first) / Math.max(1, last - first)) * (width - left - right);
  const py = (v) => bottom - Math.max(0, Math.min(1, y(v))) * (bottom - topEdge);
  const of = last - first;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const tick of ticks) {
    svg.append(draw("line", { class: "grid", x1: left, x2: width - right, y1: py(tick), y2: py(tick) }));
    svg.append(draw("text", { x: left - 8, y: py(tick) + 4, "text-anchor": "end" }, format(tick)));
  }
  const steps = Math.max(1, Math.min(5, Math.floor((width - left) / (of > DAY_MS ? 120 : 90))));
  for (let n = 0; n <= steps; n += 1) {
    const x = first + ((last - first) * n) / steps;
    const anchor = n === 0 ? "start" : n === steps ? "end" : "middle";
    svg.append(draw("text", { x: px(x), y: height - 6, "text-anchor": anchor }, time(x, of)));
  }
  if (band) {
    const [inner, outer] = series.map((one) => one.points.map(([x, v]) => `${px(x).toFixed(1)} ${py(v).toFixed(1)}`));
    svg.append(draw("path", { class: "area", d: `M${outer.join("L")}L${inner.reverse().join("L")}Z` }));
  }
  for (const one of [...series].reverse()) {
    const d = one.points.map(([x, v], n) => `${n ? "L" : "M"}${px(x).toFixed(1)} ${py(v).toFixed(1)}`).join("");
    svg.append(draw("path", { class: `line ${one.kind}`, d }));
  }
  for (const group of together(marks.filter((mark) => mark.event_ts >= first && mark.event_ts <= last), px)) {
    for (const mark of group) svg.append(draw("line", { class: "mark-line", x1: px(mark.event_ts), x2: px(mark.event_ts), y1: 8, y2: bottom }));
    const x = px(group[0].event_ts);
    svg.append(draw("path", { class: "flag", d: `M${x} 4l9 5-9 5z` }));
    const text = `${group.some((mark) => mark.steep) ? "steep drift" : "drift"}${group.length > 1 ? ` (${group.length})` : ""}`;
    const toLeft = x + NEAR > width - right;
    svg.append(draw("text", { class: "mark-text", x: toLeft ? x - 6 : x + 13, y: 13, "text-anchor": toLeft ? "end" : "start" }, text));
  }
  const legend = make("ul", { class: "legend" }, ...series.map((one) => make(
    "li", {},
    draw("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" }, draw("path", { class: `line ${one.kind}`, d: "M1 4H25" })),
    make("span", {}, one.name, " ", make("b", {}, format(one.points.at(-1)[1]))),
  )));
  const rows = series[0].points.map(([x], n) => [time(x, of), ...series.map((one) => format(one.points[n][1]))]).slice(-12).reverse();
  const headings = [["Until"], ...series.map((one) => [one.short])];
  const details = make("details", {}, make("summary", {}, "As a table"), table(marksTold || "The latest first", headings, rows));
  details.open = open;
  const focused = box.contains(document.activeElement) && document.activeElement.tagName === "SUMMARY";
  put(id, svg, legend, details);
  if (focused) details.querySelector("summary").focus();
}

// Marks in groups of those that would cover each other.
function together(marks, px) {
  const groups = [];
  for (const mark of [...marks].sort((a, b) => a.event_ts - b.event_ts)) {
    const near = groups.at(-1);
    if (near !== undefined && px(mark.event_ts) - px(near[0].event_ts) < NEAR) near.push(mark);
    else groups.push([mark]);
  }
  return groups;
}

// ---- The shop.

async function openShop() {
  $("shop").hidden = false;
  set("visitor", about.visitor);
  const told = await fetch("/live/shop").then((answer) => answer.json()).catch(() => null);
  if (told === null) { // the connection is lost again: it is asked for when that is back
    $("shop").hidden = true;
    return;
  }
  for (const item of told.items) known.set(item.item_id, item);
  const shelves = new Map();
  for (const id of told.in_window) {
    const item = known.get(id);
    if (!shelves.has(item.category)) shelves.set(item.category, []);
    shelves.get(item.category).push(item);
  }
  put("shelves", ...[...shelves].flatMap(([category, items]) => [
    make("h3", {}, swatch(category), category),
    make("ul", {}, ...items.map((item) => make("li", {}, shelfButton(item)))),
  ]));
  if (shown !== null && shown.list !== null) showRows(shown.list.items, null);
}

function shelfButton(item) {
  const button = make("button", { type: "button" }, item.title, make("span", {}, `€ ${item.price.toFixed(2)}`));
  button.style.setProperty("--hue", hue(item.category));
  button.dataset.item = item.item_id;
  button.addEventListener("click", () => click(item));
  return button;
}

async function click(item) {
  const at = performance.now();
  const type = document.querySelector("input[name=action]:checked").value;
  if (user !== about.visitor) choose(about.visitor);
  set("outcome", `You clicked ${item.title}: it is on its way.`);
  clicked = { ts: Infinity, at, title: item.title };
  try {
    const answer = await fetch("/live/clicks", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ item_id: item.item_id, type }),
    });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    clicked = { ts: told.ts, at, title: item.title };
    noteClick(); // the list may have been faster than the answer
  } catch (error) {
    clicked = null;
    set("outcome", `The click did not arrive: ${error.message}`);
  }
}

// ---- Begin.

const TAKERS = { about: takeAbout, list: takeList, figures: takeFigures, lines: takeLines };

$("chooser").addEventListener("submit", (event) => {
  event.preventDefault();
  if ($("user").value !== "") choose($("user").value);
});
$("user").addEventListener("focus", () => $("user").select());
$("follow").addEventListener("click", () => choose(user === null ? (shown?.user ?? null) : null));
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  if (!paused) {
    for (const [name, told] of held) TAKERS[name](told);
    held = new Map();
  }
  showState();
});

let width = 0;
new ResizeObserver(() => {
  if (lines !== null && $("hr").clientWidth !== width) takeLines(lines);
  width = $("hr").clientWidth;
}).observe($("hr"));

// A page that one has left may be kept, with its connection, and a browser opens no more than six to a server.
let left = false;
addEventListener("pagehide", () => {
  left = true;
  source.close();
});
addEventListener("pageshow", (event) => {
  left = false;
  if (event.persisted) connect();
});

setInterval(() => {
  if (left) return;
  watchConnection();
  if (!paused) showAge();
  if (clicked !== null && performance.now() - clicked.at > PATIENCE_MS) {
    put("outcome", "You clicked ", bdi(clicked.title), ". Your list has not changed yet.");
  }
  if (performance.now() - spokenAt > SPOKEN_EVERY_MS) sayNow();
}, 1000);

$("follow").setAttribute("aria-pressed", String(user === null));
if (user !== null) {
  $("user").value = user;
  set("whose", user);
}
showAge();
connect();
