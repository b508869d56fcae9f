/** Reports that the server has not acknowledged yet, kept over reloads of the page. */

/** One report as it was made; its text carries everything but the UserSig. */
export interface Pending {
  sessionId: string;
  seq: number;
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

/** Reports at most: beyond that the oldest is given up. */
export const MAX_PENDING = 30;

/** Sessions of this page that go on; what other sessions left behind may be taken over. */
const alive = new Set<string>();

/** First in, first out, at most `MAX_PENDING`, mirrored to storage where there is one. */
export class ReportQueue {
  private entries: Pending[] = [];
  private readonly key: string;

  /** Entries are kept under the user, so that one user's reports are never sent as another's. */
  constructor(
    private readonly store: Store | undefined,
    sdkAppId: number,
    userId: string,
    private readonly sessionId: string,
    private readonly limit: number = MAX_PENDING,
  ) {
    const prefix = `roompulse:${sdkAppId}:${userId}:`;
    this.key = prefix + sessionId;
    alive.add(sessionId);
    this.adopt(prefix);
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
    const given = this.entries.splice(0, Math.max(0, this.entries.length - this.limit));
    this.save();
    return given;
  }

  /** Forget a report: it is safe, or it is refused for good. */
  remove(entry: Pending): void {
    this.entries = this.entries.filter((other) => other.sessionId !== entry.sessionId || other.seq !== entry.seq);
    this.save();
  }

  clear(): void {
    this.entries = [];
    this.save();
  }

  /** The session is over; what is still pending waits in storage for the next one. */
  release(): void {
    alive.delete(this.sessionId);
  }

  private adopt(prefix: string): void {
    if (this.store === undefined) return;
    try {
      const keys = Array.from({ length: this.store.length }, (_, i) => this.store!.key(i));
      for (const key of keys) {
        if (key === null || !key.startsWith(prefix) || alive.has(key.slice(prefix.length))) continue;
        this.entries.push(...parse(this.store.getItem(key)));
        this.store.removeItem(key);
      }
    } catch {
      // Storage may be forbidden; then nothing was left behind either.
    }
    this.entries = this.entries.slice(-this.limit);
    if (this.entries.length > 0) this.save();
  }

  private save(): void {
    if (this.store === undefined) return;
    try {
      if (this.entries.length === 0) this.store.removeItem(this.key);
      else this.store.setItem(this.key, JSON.stringify(this.entries));
    } catch {
      // Full or forbidden storage: the reports stay in memory.
    }
  }
}

function parse(text: string | null): Pending[] {
  try {
    const value: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(value) ? value.filter(isPending) : [];
  } catch {
    return [];
  }
}

function isPending(value: unknown): value is Pending {
  const entry = value as Partial<Pending> | null;
  return typeof entry?.sessionId === "string" && typeof entry.seq === "number" && typeof entry.body === "string";
}
