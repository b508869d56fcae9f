/** Sending what is pending: one report at a time, oldest first, until the server has said that it is safe. */

import { byteLength } from "./report.js";
import type { Pending, ReportQueue } from "./queue.js";

/** What the server's answer means for the report. */
export type Verdict = "accepted" | "refused" | "unauthorized" | "forbidden" | "again";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 60_000;
/** From here on gzip saves more than the preflight costs that `Content-Encoding` brings along. */
const COMPRESS_FROM_BYTES = 8192;
/** A browser carries this much of all requests that outlive their page. */
const KEEPALIVE_BYTES = 64_000;

/** What a status means; every one that the contract does not name is taken for a passing trouble. */
export function verdictOf(status: number): Verdict {
  if (status >= 200 && status < 300) return "accepted";
  if (status === 401) return "unauthorized";
  if (status === 403) return "forbidden";
  return [400, 413, 415, 422].includes(status) ? "refused" : "again";
}

/** How long to wait before the next attempt, ms: what the server asked for, else twice as long each time, jittered. */
export function waitMs(failures: number, retryAfter: string | null, now: number, random: () => number): number {
  const asked = retryAfterMs(retryAfter, now);
  if (asked !== undefined) return asked + random() * FIRST_WAIT_MS;
  const ceiling = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(failures - 1, 16));
  return ceiling / 2 + (random() * ceiling) / 2;
}

/** The header's value in milliseconds from `now`: seconds, or a date. */
export function retryAfterMs(value: string | null, now: number): number | undefined {
  if (value === null || value.trim() === "") return undefined;
  const seconds = Number(value);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** What proves that the user may report. It is never stored. */
export interface Credentials {
  userSig: string;
  /** The room that the key is for. */
  roomId: number | string;
  privateMapKey?: string | undefined;
}

/** The report's text with the credentials in it: the same bytes each time, as long as they are the same. */
export function withCredentials(entry: Pending, { userSig, roomId, privateMapKey }: Credentials): string {
  const key = privateMapKey === undefined || entry.roomId !== roomId ? "" : `"PrivateMapKey":${JSON.stringify(privateMapKey)},`;
  return `{"UserSig":${JSON.stringify(userSig)},${key}${entry.body.slice(1)}`;
}

export interface Answer {
  entry: Pending;
  verdict: Verdict;
  status: number;
  code: string;
  reason: string;
  /** What the server objected to; empty where it did not say. */
  field: string;
  /** Items of the report that were refused while the rest was accepted. */
  rejected: { Index: number; Field: string; Code: string; Reason: string }[];
}

/** Sends a queue's reports to one endpoint. */
export class Sender {
  private failures = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private busy = false;
  private readonly handedOver = new Set<Pending>();
  private state: "running" | "waiting for a UserSig" | "stopped" = "running";

  /** `onAnswer` hears of every answer and, with status 0, of every attempt that got none. */
  constructor(
    private readonly url: string,
    private readonly queue: ReportQueue,
    private credentials: Credentials,
    private readonly onAnswer: (answer: Answer) => void,
  ) {}

  get stopped(): boolean {
    return this.state === "stopped";
  }

  setCredentials(credentials: Credentials): void {
    this.credentials = credentials;
    if (this.state === "stopped") return;
    this.state = "running";
    this.kick();
  }

  /** Send what is pending, unless that is under way or a wait is on. */
  kick(): void {
    if (this.busy || this.timer !== undefined || this.state !== "running" || this.queue.length === 0) return;
    this.busy = true;
    void this.run().finally(() => {
      this.busy = false;
      this.kick();
    });
  }

  /** The page may go away: hand everything to the browser at once. What it did not confirm stays pending. */
  flush(): void {
    if (this.state !== "running") return;
    let room = KEEPALIVE_BYTES;
    for (const entry of [...this.queue.all()].reverse()) {
      const body = withCredentials(entry, this.credentials);
      room -= byteLength(body);
      if (room < 0) return;
      if (!this.handedOver.has(entry)) void this.handOver(entry, body);
    }
  }

  stop(): void {
    this.state = "stopped";
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private async run(): Promise<void> {
    for (let entry = this.queue.first(); entry !== undefined && this.state === "running"; entry = this.queue.first()) {
      const used = this.credentials;
      const response = await this.post(withCredentials(entry, used));
      const answer = await this.judge(entry, response, used);
      if (answer.verdict === "again") {
        this.failures += 1;
        const asked = response?.headers.get("Retry-After") ?? null;
        this.timer = setTimeout(() => {
          this.timer = undefined;
          this.kick();
        }, waitMs(this.failures, asked, Date.now(), Math.random));
        return;
      }
      this.failures = 0;
    }
  }

  private async post(text: string): Promise<Response | undefined> {
    try {
      const zipped = byteLength(text) >= COMPRESS_FROM_BYTES ? await gzip(text) : undefined;
      return await fetch(this.url, {
        method: "POST",
        credentials: "omit",
        headers: { "Content-Type": "text/plain", ...(zipped && { "Content-Encoding": "gzip" }) },
        body: zipped ?? text,
      });
    } catch {
      return undefined;
    }
  }

  private async handOver(entry: Pending, body: string): Promise<void> {
    this.handedOver.add(entry);
    const used = this.credentials;
    try {
      const response = await fetch(this.url, {
        method: "POST",
        keepalive: true,
        credentials: "omit",
        headers: { "Content-Type": "text/plain" },
        body,
      });
      await this.judge(entry, response, used);
    } catch {
      globalThis.navigator?.sendBeacon?.(this.url, body);
    } finally {
      this.handedOver.delete(entry);
    }
  }

  private async judge(entry: Pending, response: Response | undefined, used: Credentials): Promise<Answer> {
    const content = await readAnswer(response);
    let verdict = response === undefined ? "again" : verdictOf(response.status);
    // An earlier session's report of a room whose key is lost can never be sent.
    const keyLost = content.field === "PrivateMapKey" && entry.roomId !== used.roomId;
    if (verdict === "unauthorized" && keyLost) verdict = "refused";
    if (verdict === "accepted" || verdict === "refused") this.queue.remove(entry);
    // Newer credentials may have come while the answer was under way.
    if (verdict === "unauthorized" && used === this.credentials) this.state = "waiting for a UserSig";
    if (verdict === "forbidden") {
      this.stop();
      this.queue.clear();
    }
    const answer = { entry, verdict, status: response?.status ?? 0, ...content };
    this.onAnswer(answer);
    return answer;
  }
}

async function readAnswer(response: Response | undefined): Promise<Pick<Answer, "code" | "reason" | "field" | "rejected">> {
  try {
    const body = (await response?.json()) as
      | { Error?: { Code?: string; Reason?: string; Field?: string }; Rejected?: Answer["rejected"] }
      | undefined;
    const { Code: code = "", Reason: reason = "", Field: field = "" } = body?.Error ?? {};
    return { code, reason, field, rejected: body?.Rejected ?? [] };
  } catch {
    return { code: "", reason: "", field: "", rejected: [] };
  }
}

async function gzip(text: string): Promise<ArrayBuffer | undefined> {
  if (typeof CompressionStream === "undefined") return undefined;
  return new Response(new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer();
}
