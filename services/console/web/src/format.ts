/** Numbers and times as the page writes them. Unknown is a dash, never a zero. */

export const UNKNOWN = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fraction = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit" });

export const count = (value: number | null): string => (value === null ? UNKNOWN : whole.format(value));

export const rate = (value: number | null): string => (value === null ? UNKNOWN : `${fraction.format(value)} %`);

/** 14:03:20, local time. */
export const timeOfDay = (ms: number): string => clock.format(ms);

/** Time of day, with the date where it is not today's. */
export const moment = (ms: number, now = Date.now()): string =>
  day.format(ms) === day.format(now) ? timeOfDay(ms) : `${day.format(ms)} ${timeOfDay(ms)}`;

/** The local zone at a time, like UTC+02:00. */
export function zone(ms: number): string {
  const minutes = -new Date(ms).getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `UTC${minutes < 0 ? "−" : "+"}${String(hours).padStart(2, "0")}:${String(rest).padStart(2, "0")}`;
}

export const duration = (ms: number): string => (ms < 1000 ? `${ms} ms` : `${fraction.format(ms / 1000)} s`);
