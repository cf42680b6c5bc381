/** The list of the newest events, newest first. */

import { clone, time } from "./text.js";

const PRIORITIES = ["Info", "Warning", "Error"];

export class EventList {
  #list = document.getElementById("event-list");
  #limit;
  #drawSoon;
  #acknowledge;
  #newest = 0;
  #waiting = [];

  /** limit: how many are shown; drawSoon: asks for a call of draw; acknowledge(rule): somebody saw its alarm. */
  constructor(limit, drawSoon, acknowledge) {
    this.#limit = limit;
    this.#drawSoon = drawSoon;
    this.#acknowledge = acknowledge;
  }

  /** Take an event of a push. alarm: {rule, acknowledged, ..} where it wants to be acknowledged. */
  take({ eventId, dname, sname, text, x, priority, alarm }) {
    // An answer of getEventList may hold what was pushed before it.
    if (eventId <= this.#newest) return;
    this.#newest = eventId;
    this.#waiting.push({ dname, sname, text, x, priority, alarm });
    if (this.#waiting.length > this.#limit) this.#waiting.shift();
    this.#drawSoon();
  }

  /** Take an answer of getEventList. restarted: numbers may have begun anew, so forget what was shown. */
  takeAll(events, restarted) {
    if (restarted) {
      this.#newest = 0;
      this.#waiting = [];
      this.#list.replaceChildren();
    }
    for (const [dname, sname, eventId, text, x, , priority, , alarm] of byNumber(events)) {
      this.take({ eventId, dname, sname, text, x, priority, alarm });
    }
  }

  /** Show that the alarm of a rule was acknowledged. */
  acknowledged(rule, by) {
    for (const item of this.#list.children) {
      if (item.dataset.rule === rule) showAlarm(item, { rule, acknowledged: true, acknowledgedBy: by });
    }
  }

  /** Bring the page up to date. */
  draw() {
    for (const event of this.#waiting.splice(0)) this.#list.prepend(this.#element(event));
    while (this.#list.childElementCount > this.#limit) this.#list.lastElementChild.remove();
    document.getElementById("no-events").hidden = this.#list.childElementCount > 0;
  }

  /** Have new events read out from now on. */
  announce() {
    this.#list.ariaLive = "polite";
  }

  #element({ dname, sname, text, x, priority, alarm }) {
    const item = clone("event");
    item.dataset.priority = priority;
    item.querySelector(".priority").textContent = PRIORITIES[priority];
    item.querySelector("time").textContent = time(x);
    item.querySelector(".text").textContent = text || "(no text)";
    item.querySelector(".source").textContent = [dname, sname].filter(Boolean).join(" · ");
    item.querySelector("button").onclick = () => this.#acknowledge(item.dataset.rule);
    if (alarm) showAlarm(item, alarm);
    return item;
  }
}

const byNumber = (events) => Object.values(events).sort((one, other) => one[2] - other[2]);

function showAlarm(item, { rule, acknowledged, acknowledgedBy }) {
  item.dataset.rule = rule;
  item.querySelector("button").hidden = acknowledged;
  const who = acknowledgedBy ? ` by ${acknowledgedBy}` : "";
  item.querySelector(".alarm").textContent = acknowledged ? `Acknowledged${who}` : "Not acknowledged";
}
