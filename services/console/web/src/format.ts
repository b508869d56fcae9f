/** Numbers, times and foreign texts as the page writes them. Unknown is a dash, never a zero. */

import { Preference } from "./preference";

export const UNKNOWN = "–";

/** The zone that times are written in. */
export const zoneChoice = new Preference("zone", ["local", "utc"]);

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact" });
const fraction = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" } as const;
const DAY = { year: "numeric", month: "2-digit", day: "2-digit" } as const;
const clocks = {
  local: new Intl.DateTimeFormat("en-GB", CLOCK),
  utc: new Intl.DateTimeFormat("en-GB", { ...CLOCK, timeZone: "UTC" }),
};
const days = {
  local: new Intl.DateTimeFormat("en-CA", DAY),
  utc: new Intl.DateTimeFormat("en-CA", { ...DAY, timeZone: "UTC" }),
};

export const count = (value: number | null): string => (value === null ? UNKNOWN : whole.format(value));

/** 1200000 as 1.2M, for axes. */
export const shortCount = (value: number): string => compact.format(value);

/** Number and sign stay on one line. */
export const rate = (value: number | null): string => (value === null ? UNKNOWN : `${fraction.format(value)}\u00a0%`);

/** 14:03:20 */
export const timeOfDay = (ms: number): string => clocks[zoneChoice.value].format(ms);

/** Time of day, with the date where it is not today's. */
export function moment(ms: number, now = Date.now()): string {
  const day = days[zoneChoice.value];
  return day.format(ms) === day.format(now) ? timeOfDay(ms) : `${day.format(ms)} ${timeOfDay(ms)}`;
}

/** The zone in which a time is written, like UTC+02:00. */
export function zone(ms: number): string {
  const minutes = zoneChoice.value === "utc" ? 0 : -new Date(ms).getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `UTC${minutes < 0 ? "−" : "+"}${String(hours).padStart(2, "0")}:${String(rest).padStart(2, "0")}`;
}

export const duration = (ms: number): string => (ms < 1000 ? `${ms} ms` : `${fraction.format(ms / 1000)} s`);

/** A name that somebody else chose: characters that hide themselves or turn others round are spelled out. */
export const visible = (text: string): string =>
  text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    // The two joiners are part of ordinary words and of emoji.
    (char) => (/[\u200c\u200d]/.test(char) ? char : `⟨U+${char.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0")}⟩`),
  );

/** The same for a text of several lines. */
export const visibleLines = (text: string): string => text.split(/\r?\n/).map(visible).join("\n");
