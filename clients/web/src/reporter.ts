/** Reports out of samples, events and what is known of the user. */

import type { RoompulseOptions } from "./options.js";
import type { ReportQueue } from "./queue.js";
import { divide, type ClientEvent, type ClientPart, type Content, type Report, type Sample } from "./report.js";
import { given } from "./stats.js";

/** Events that wait for the next report, at most. */
const MAX_EVENTS = 1000;

type Told<T> = { [K in keyof T]: T[K] | undefined };

/** Numbers a session's reports, keeps each within its size, and says who the user is when that is news. */
export class Reporter {
  private client: ClientPart = {};
  private clientChanged = true;
  private seq = 0;
  private samples: Sample[] = [];
  private events: { at: number; event: Omit<ClientEvent, "AtMs"> }[] = [];
  /** When the user began to enter, local time. */
  private beganAt = 0;

  /** `onOverflow` hears what had to be given up. */
  constructor(
    private readonly options: Pick<RoompulseOptions, "sdkAppId" | "userId" | "roomId">,
    private readonly queue: ReportQueue,
    private readonly onOverflow: (what: string) => void,
  ) {}

  /** Change what is known of the user. */
  describe(change: Told<ClientPart>): void {
    this.client = given({ ...this.client, ...change }) as ClientPart;
    this.clientChanged = true;
  }

  /** The user is in the room since `at`, local time. */
  joined(at: number): void {
    this.beganAt = at - (this.client.JoinCostMs ?? 0);
  }

  addSamples(samples: Sample[]): void {
    this.samples.push(...samples);
  }

  /** Something happened at `at`, local time. */
  addEvent(at: number, event: Told<Omit<ClientEvent, "AtMs">> & { EventId: number }): void {
    if (this.events.length >= MAX_EVENTS) {
      this.events.shift();
      this.onOverflow("an event");
    }
    this.events.push({ at, event: given(event) as Omit<ClientEvent, "AtMs"> });
  }

  /** Queue what there is, `offset` from local to server time. Whether there was anything. */
  finish(now: number, offset: number): boolean {
    const samples = this.samples.splice(0);
    const events = this.events.splice(0).map(({ at, event }) => ({ AtMs: Math.round(at + offset), ...event }));
    if (samples.length === 0 && events.length === 0 && !this.clientChanged) return false;
    for (const content of divide(samples, events)) this.enqueue(content, now, offset);
    return true;
  }

  private enqueue(content: Content, now: number, offset: number): void {
    const { sdkAppId, userId, roomId } = this.options;
    const { sessionId } = this.queue;
    const report: Report = given({
      SdkAppId: sdkAppId,
      UserId: userId,
      RoomId: roomId,
      SessionId: sessionId,
      Seq: (this.seq += 1),
      SentMs: Math.round(now + offset),
      Client: this.clientChanged ? { JoinMs: Math.round(this.beganAt + offset), ...this.client } : undefined,
      ...content,
    });
    this.clientChanged = false;
    const entry = { sessionId, seq: report.Seq, roomId, sentMs: report.SentMs, body: JSON.stringify(report) };
    for (const lost of this.queue.push(entry)) {
      // It may have been the one that said who the user is.
      this.clientChanged ||= lost.sessionId === sessionId;
      this.onOverflow(`report ${lost.seq}`);
    }
  }
}
