/** The page: what the server says goes to the table and the list, what people type goes to the link. */

import { EventList } from "./events.js";
import { Link } from "./link.js";
import { passwordHash } from "./sha256.js";
import { SignalTable } from "./signals.js";

const EVENTS = 50;
// A pause between drawings, in ms: a flood of values costs no more than ten of them a second.
const PAUSE = 100;
// The answer to a request with this id tells how an alarm stands.
const ACKNOWLEDGE = "acknowledge:";
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

const part = (id) => document.getElementById(id);
const say = (id, text) => {
  part(id).textContent = text;
  part(id).hidden = !text;
};

let valuesHeard = 0;
let countedSince = performance.now();
let clockAhead = 0;
let boot = null;
let lastDrawn = -Infinity;
let willDraw = false;

const signals = new SignalTable(drawSoon);
const events = new EventList(EVENTS, drawSoon, (rule) =>
  link.ask({ id: ACKNOWLEDGE + rule, automation: { acknowledge: rule, alarms: rule } }),
);
const now = () => Date.now() / 1000 + clockAhead;

function drawSoon() {
  if (willDraw) return;
  willDraw = true;
  setTimeout(() => requestAnimationFrame(draw), lastDrawn + PAUSE - performance.now());
}

function draw() {
  willDraw = false;
  signals.draw(now());
  events.draw();
  part("signal-count").textContent = signals.count;
  lastDrawn = performance.now();
}

function heard(message) {
  if (message.signal) {
    valuesHeard += message.signal.y.length;
    signals.take(message.signal);
  } else if (message.event) {
    events.take(message.event);
  } else if ("error" in message) {
    answered(message);
  }
}

function answered(answer) {
  const rule = answer.id?.startsWith?.(ACKNOWLEDGE) && answer.id.slice(ACKNOWLEDGE.length);
  const alarm = answer.automation?.alarms?.[rule];
  // Where it is acknowledged, it does not matter whether somebody else was quicker.
  if (alarm?.acknowledged) events.acknowledged(rule, alarm.acknowledgedBy);
  else if (answer.error) say("problem", answer.errors?.[0]?.message ?? "The server reports an error.");
  const restarted = answer.hello !== undefined && answer.hello.boot !== boot;
  if (answer.hello) {
    const { server, version, time } = answer.hello;
    boot = answer.hello.boot;
    clockAhead = time - Date.now() / 1000;
    part("server").textContent = `${server} ${version}`;
    document.body.toggleAttribute("data-controls", answer.hello.permissions.includes("control"));
  }
  if (answer.signalList && answer.latest) signals.reset(answer.signalList, answer.latest);
  if (answer.events) events.takeAll(answer.events, restarted);
  // What was there before is not news; what comes after the next drawing is.
  if (answer.events) requestAnimationFrame(() => setTimeout(() => events.announce(), 2 * PAUSE));
}

const STATES = {
  connecting: () => "Connecting…",
  live: () => "Live",
  login: () => "Login needed",
  lost: (seconds) => `Not connected, next try in ${seconds} s`,
};

function changed(state, detail) {
  document.body.dataset.state = state;
  part("state").textContent = STATES[state](detail);
  if (state === "connecting") say("problem", "");
  if (state === "live") part("login").hidden = true;
  if (state === "login") askForPassword(detail);
}

function askForPassword(refused) {
  const exposed = location.protocol === "http:" && !LOCAL.includes(location.hostname);
  const hint = exposed ? ", or the server wants https" : "";
  say("login-problem", refused ? `The login was refused: the password is wrong${hint}.` : "");
  part("not-private").hidden = !exposed;
  part("login").hidden = false;
  part("password").focus();
}

part("login").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const hash = passwordHash(part("password").value);
  const user = part("user").value.trim();
  part("password").value = "";
  link.logIn(user ? { user, hash } : hash);
});

setInterval(() => {
  const seconds = (performance.now() - countedSince) / 1000;
  part("rate").textContent = Math.round(valuesHeard / seconds);
  valuesHeard = 0;
  countedSince = performance.now();
  signals.drawAges(now());
}, 1000);

part("host").textContent = location.host;
document.title = `${location.host} · RTOC`;

const link = new Link(
  `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`,
  [
    { hello: true, getEventList: EVENTS },
    // By itself: the server answers these in one go, so no push can come between the lists and the answer.
    { getSignalList: true, getLatest: true, subscribeAll: true },
  ],
  { state: changed, message: heard },
);
link.open();
