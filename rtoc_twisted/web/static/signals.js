/** The table of signals, grouped by device. Rows out of view are not redrawn, however many values arrive. */

import { age, clone, isTime, number } from "./text.js";

const TREND_VALUES = 60;
const TREND_HEIGHT = 20;
const MOST_ROWS = 5000;
const NEW_ROWS_A_DRAW = 200;
// What comes into view soon counts as in view.
const VIEW = { rootMargin: "300px" };

class Signal {
  x = null;
  y = null;
  unit = "";
  trend = [];
  row = null;
  changed = false;

  constructor(device, name) {
    this.device = device;
    this.name = name;
  }

  take(xs, ys, unit) {
    this.unit = unit ?? this.unit;
    if (ys.length) {
      this.trend.push(...ys.slice(-TREND_VALUES));
      this.trend.splice(0, this.trend.length - TREND_VALUES);
      this.x = xs.at(-1);
      this.y = ys.at(-1);
    }
    this.changed = true;
  }

  makeRow() {
    this.row = clone("signal");
    this.row.signal = this;
    this.row.querySelector("th").textContent = this.name || "(no name)";
    [this.valueCell, this.unitCell, , this.ageCell] = this.row.querySelectorAll("td");
    this.line = this.row.querySelector("polyline");
    return this.row;
  }

  draw(now) {
    this.changed = false;
    this.unitCell.textContent = this.unit;
    if (this.trend.length) {
      this.valueCell.textContent = number(this.y);
      this.valueCell.title = String(this.y);
      this.line.setAttribute("points", trendPoints(this.trend));
    }
    this.drawAge(now);
  }

  drawAge(now) {
    if (this.x === null) return;
    this.ageCell.textContent = isTime(this.x, now) ? age(now - this.x) : `x = ${number(this.x)}`;
  }
}

/** Return the points of a polyline, newest at the right; values that are no number are left out. */
function trendPoints(values) {
  const known = values.filter(Number.isFinite);
  const low = Math.min(...known);
  const scale = (TREND_HEIGHT - 2) / (Math.max(...known) - low || Infinity);
  const left = TREND_VALUES - values.length;
  const bottom = scale ? TREND_HEIGHT - 1 : TREND_HEIGHT / 2;
  const height = (y) => bottom - (y - low) * scale;
  return values
    .map((y, index) => (Number.isFinite(y) ? `${left + index},${height(y).toFixed(1)}` : ""))
    .join(" ");
}

export class SignalTable {
  #table = document.getElementById("signal-table");
  #devices = new Map();
  #bodies = new Map();
  #rowless = [];
  #rows = 0;
  #inView = new Set();
  #drawSoon;
  #observer;
  count = 0;

  /** drawSoon: asks for a call of draw. */
  constructor(drawSoon) {
    this.#drawSoon = drawSoon;
    this.#observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) this.#inView.add(target.signal);
        else this.#inView.delete(target.signal);
        target.signal.changed = true;
      }
      drawSoon();
    }, VIEW);
  }

  /** Return a signal, which is new if it is unknown. */
  #signal(device, name) {
    let signals = this.#devices.get(device);
    if (!signals) this.#devices.set(device, (signals = new Map()));
    let signal = signals.get(name);
    if (!signal) {
      signals.set(name, (signal = new Signal(device, name)));
      this.#rowless.push(signal);
      this.count++;
    }
    return signal;
  }

  /** Take values of a push. */
  take({ dname, sname, x, y, unit }) {
    this.#signal(dname, sname).take(x, y, unit);
    this.#drawSoon();
  }

  /** Show just the signals of these answers of getSignalList and getLatest. */
  reset(signalList, latest) {
    const listed = new Set(signalList.map((pair) => JSON.stringify(pair)));
    for (const [device, signals] of this.#devices) {
      for (const name of signals.keys()) {
        if (!listed.has(JSON.stringify([device, name]))) this.#forget(device, name);
      }
    }
    for (const [device, name] of signalList) {
      const signal = this.#signal(device, name);
      const newest = latest[`${device}.${name}`];
      if (!newest) continue;
      const [x, y, unit] = newest;
      // After a reconnect it may be what is shown already.
      const known = signal.x === x && signal.y === y;
      signal.take(known ? [] : [x], known ? [] : [y], unit);
    }
    this.#drawSoon();
  }

  #forget(device, name) {
    const signals = this.#devices.get(device);
    const signal = signals.get(name);
    signals.delete(name);
    this.count--;
    if (signal.row) {
      this.#observer.unobserve(signal.row);
      this.#inView.delete(signal);
      signal.row.remove();
      this.#rows--;
    } else {
      this.#rowless = this.#rowless.filter((other) => other !== signal);
    }
    if (!signals.size) {
      this.#devices.delete(device);
      this.#bodies.get(device)?.remove();
      this.#bodies.delete(device);
    }
  }

  /** Bring the page up to date. now: the server's time in seconds. */
  draw(now) {
    const room = Math.min(NEW_ROWS_A_DRAW, MOST_ROWS - this.#rows);
    for (const signal of this.#rowless.splice(0, room)) {
      const row = signal.makeRow();
      signal.draw(now);
      this.#body(signal.device).append(row);
      this.#observer.observe(row);
      this.#rows++;
    }
    for (const signal of this.#inView) if (signal.changed) signal.draw(now);
    this.#table.hidden = this.count === 0;
    document.getElementById("no-signals").hidden = this.count > 0;
    const full = this.#rows >= MOST_ROWS && this.#rowless.length > 0;
    const note = document.getElementById("not-shown");
    note.hidden = !full;
    if (full) note.textContent = `${this.#rowless.length} more signals are not shown.`;
    else if (this.#rowless.length) this.#drawSoon();
  }

  /** Let the values in view grow older. */
  drawAges(now) {
    for (const signal of this.#inView) signal.drawAge(now);
  }

  #body(device) {
    let body = this.#bodies.get(device);
    if (!body) {
      body = clone("device");
      body.querySelector("th").textContent = device || "(no name)";
      this.#table.append(body);
      this.#bodies.set(device, body);
    }
    return body;
  }
}
