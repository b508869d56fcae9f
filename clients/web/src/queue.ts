/** Reports that the server has not acknowledged yet, kept over reloads and visits. */

import { sessionsOfPage, type Sessions } from "./sessions.js";

/** One report as it was made; its text carries everything but the credentials. */
export interface Pending {
  sessionId: string;
  seq: number;
  roomId: number | string;
  /** Server time. */
  sentMs: number;
  body: string;
}

/** The part of `Storage` that is needed. */
export interface Store {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
  key(index: number): string | null;
  readonly length: number;
}

/** What may be pending at most, an hour of a small call: beyond that the oldest is given up. */
export interface Limits {
  reports: number;
  characters: number;
}

export const LIMITS: Limits = { reports: 360, characters: 1_000_000 };
/** The server refuses what is older. */
export const MAX_AGE_MS = 24 * 3600 * 1000;

const ALL = "roompulse:";

/** First in, first out, within its limits, mirrored to storage where there is one: an entry for each report. */
export class ReportQueue {
  private entries: Pending[] = [];
  private readonly ofUser: string;
  private readonly letGo: () => void;

  /** Entries are kept under the user, so that one user's reports are never sent as another's. */
  constructor(
    private readonly store: Store | undefined,
    sdkAppId: number,
    userId: string,
    readonly sessionId: string,
    private readonly limits: Limits = LIMITS,
    private readonly sessions: Sessions = sessionsOfPage,
  ) {
    this.ofUser = `${ALL}${sdkAppId}:${encodeURIComponent(userId)}:`;
    this.letGo = sessions.hold(sessionId);
  }

  get length(): number {
    return this.entries.length;
  }

  /** The oldest report. */
  first(): Pending | undefined {
    return this.entries[0];
  }

  all(): readonly Pending[] {
    return this.entries;
  }

  /** Add a report; gives those that had to go for it. */
  push(entry: Pending): Pending[] {
    this.entries.push(entry);
    this.write(entry);
    return this.trim();
  }

  /** Forget a report: it is safe, or it is refused for good. */
  remove(entry: Pending): void {
    this.entries = this.entries.filter((other) => other.sessionId !== entry.sessionId || other.seq !== entry.seq);
    this.erase(this.keyOf(entry));
  }

  clear(): void {
    for (const entry of this.entries.splice(0)) this.erase(this.keyOf(entry));
  }

  /** The session is over; what is still pending waits in storage for the next one. */
  release(): void {
    this.letGo();
  }

  /**
   * Take over what earlier sessions of the user left behind, at most a day old; it goes out first. Anybody's older
   * reports are deleted. `now` is server time.
   */
  async adopt(now: number): Promise<void> {
    if (this.store === undefined) return;
    const alive = await this.sessions.alive();
    const found: Pending[] = [];
    for (const key of this.keys()) {
      const entry = parse(this.store.getItem(key));
      if (entry === undefined || now - entry.sentMs > MAX_AGE_MS) this.erase(key);
      else if (key === this.keyOf(entry) && !alive.has(entry.sessionId)) found.push(entry);
    }
    found.sort((a, b) => a.sentMs - b.sentMs || a.seq - b.seq);
    const known = new Set(this.entries.map((entry) => this.keyOf(entry)));
    this.entries.unshift(...found.filter((entry) => !known.has(this.keyOf(entry))));
    this.trim();
  }

  private trim(): Pending[] {
    let characters = this.entries.reduce((sum, entry) => sum + entry.body.length, 0);
    const given: Pending[] = [];
    while (this.entries.length > 1 && (this.entries.length > this.limits.reports || characters > this.limits.characters)) {
      const oldest = this.entries.shift()!;
      characters -= oldest.body.length;
      this.erase(this.keyOf(oldest));
      given.push(oldest);
    }
    return given;
  }

  private keyOf(entry: Pending): string {
    return `${this.ofUser}${entry.sessionId}:${entry.seq}`;
  }

  private keys(): string[] {
    try {
      const keys = Array.from({ length: this.store!.length }, (_, i) => this.store!.key(i));
      return keys.filter((key) => key !== null).filter((key) => key.startsWith(ALL));
    } catch {
      // Storage may be forbidden; then nothing was left behind either.
      return [];
    }
  }

  private write(entry: Pending): void {
    try {
      this.store?.setItem(this.keyOf(entry), entry.body);
    } catch {
      // Full or forbidden storage: the report stays in memory.
    }
  }

  private erase(key: string): void {
    try {
      this.store?.removeItem(key);
    } catch {
      // Forbidden storage.
    }
  }
}

function parse(body: string | null): Pending | undefined {
  try {
    const report = JSON.parse(body ?? "") as Record<string, unknown> | null;
    const { SessionId: sessionId, Seq: seq, RoomId: roomId, SentMs: sentMs } = report ?? {};
    if (typeof sessionId !== "string" || typeof seq !== "number" || typeof sentMs !== "number") return undefined;
    if (typeof roomId !== "string" && typeof roomId !== "number") return undefined;
    return { sessionId, seq, roomId, sentMs, body: body! };
  } catch {
    return undefined;
  }
}
