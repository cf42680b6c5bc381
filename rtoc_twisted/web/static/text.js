/** Values as people read them, and copies of the page's templates. */

/** Return a copy of a template's element. */
export function clone(template) {
  return document.getElementById(template).content.firstElementChild.cloneNode(true);
}

/** Return a value with six significant digits, never fewer than its whole part has; null is no number. */
export function number(value) {
  if (value === null) return "NaN";
  const size = Math.abs(value);
  if (size >= 1e5 && size < 1e15) return String(Math.round(value));
  return String(Number(value.toPrecision(6)));
}

const UNITS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

/** Return seconds as the largest unit that fits. */
export function age(seconds) {
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? [];
  return unit ? `${Math.floor(seconds / size)} ${unit}` : "now";
}

/** Tell whether an x is a time (after September 2001, and not in the days to come), not just a number. */
export const isTime = (x, now) => x > 1e9 && x < now + 86400;

/** Return the x of an event: local time, with the day where it is not today. */
export function time(x) {
  if (!isTime(x, Date.now() / 1000)) return `x = ${number(x)}`;
  const date = new Date(x * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return today ? date.toLocaleTimeString() : date.toLocaleString();
}
