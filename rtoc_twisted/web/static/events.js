/** The list of the newest events, newest first. */

import { clone, time } from "./text.js";

const PRIORITIES = ["Info", "Warning", "Error"];

export class EventList {
  #list = document.getElementById("event-list");
  #limit;
  #drawSoon;
  #newest = 0;
  #waiting = [];

  /** limit: how many are shown; drawSoon: asks for a call of draw. */
  constructor(limit, drawSoon) {
    this.#limit = limit;
    this.#drawSoon = drawSoon;
  }

  /** Take an event of a push. */
  take({ eventId, dname, sname, text, x, priority }) {
    // An answer of getEventList may hold what was pushed before it.
    if (eventId <= this.#newest) return;
    this.#newest = eventId;
    this.#waiting.push({ dname, sname, text, x, priority });
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
    for (const [dname, sname, eventId, text, x, , priority] of byNumber(events)) {
      this.take({ eventId, dname, sname, text, x, priority });
    }
  }

  /** Bring the page up to date. */
  draw() {
    for (const event of this.#waiting.splice(0)) this.#list.prepend(element(event));
    while (this.#list.childElementCount > this.#limit) this.#list.lastElementChild.remove();
    document.getElementById("no-events").hidden = this.#list.childElementCount > 0;
  }

  /** Have new events read out from now on. */
  announce() {
    this.#list.ariaLive = "polite";
  }
}

const byNumber = (events) => Object.values(events).sort((one, other) => one[2] - other[2]);

function element({ dname, sname, text, x, priority }) {
  const item = clone("event");
  item.dataset.priority = priority;
  item.querySelector(".priority").textContent = PRIORITIES[priority];
  item.querySelector("time").textContent = time(x);
  item.querySelector(".text").textContent = text || "(no text)";
  item.querySelector(".source").textContent = [dname, sname].filter(Boolean).join(" · ");
  return item;
}
