/** One user's stay in one room: measures its connections and reports what was measured. */

import { clockJumped, localNow, measureOffset } from "./clock.js";
import { Connections, type ConnectionChange, type LocalTrackOptions, type RemoteTrackOptions, type TrackState } from "./connections.js";
import { describeDevice, memoryMb, networkType } from "./device.js";
import { WebRtcEvent } from "./events.js";
import type { EventOptions, RoompulseError, RoompulseListeners, RoompulseOptions } from "./options.js";
import { ReportQueue, type Store } from "./queue.js";
import type { StreamType } from "./report.js";
import { Reporter } from "./reporter.js";
import { Sampler } from "./samples.js";
import { Sender, type Answer, type Credentials } from "./sender.js";
import { knowsOtherTabs } from "./sessions.js";
import { given, type Snapshot } from "./stats.js";
import { VERSION } from "./version.js";

const POLL_MS = 1000;
const REPORT_MS = 10_000;
/** Reports of many users fall due together; each session sends a fixed moment of this span later. */
const SPREAD_MS = 2000;
/** Snapshots that wait for the server's time, at most: ten minutes of them. */
const MAX_UNTIMED = 600;
const CLOCK_RETRY_MS = 3000;
const LEAVE_NORMAL = 1;

/** Create one when the user enters a room, `start` it, add connections, `leave` at the end. */
export class RoompulseClient {
  readonly sessionId = freshId();
  private readonly sampler = new Sampler();
  private readonly queue: ReportQueue;
  private readonly sender: Sender;
  private readonly reporter: Reporter;
  private readonly connections = new Connections((change) => this.onConnectionChange(change));
  private readonly listeners = { error: new Set<RoompulseListeners["error"]>(), accepted: new Set<RoompulseListeners["accepted"]>() };
  private readonly forget = new AbortController();
  private readonly spread = Math.random() * SPREAD_MS;
  private credentials: Credentials;
  private state: "new" | "running" | "over" = "new";
  private offset: number | undefined;
  private clockReference = 0;
  private untimed: Snapshot[] = [];
  private pollTimer: ReturnType<typeof setTimeout> | undefined;
  private polling: Promise<void> | undefined;
  private pollAgain = false;

  constructor(private readonly options: RoompulseOptions) {
    const store = options.storage === undefined ? browserStorage() : (options.storage ?? undefined);
    this.queue = new ReportQueue(store, options.sdkAppId, options.userId, this.sessionId);
    const url = `${options.endpoint.replace(/\/+$/, "")}/v1/reports`;
    this.credentials = given({ userSig: options.userSig, roomId: options.roomId, privateMapKey: options.privateMapKey });
    this.sender = new Sender(url, this.queue, this.credentials, (answer) => this.onAnswer(answer));
    const overflow = (what: string) => this.fail("overflow", 0, "", `${what} was given up, too many are pending`);
    this.reporter = new Reporter(options, this.queue, overflow);
    this.reporter.describe({
      Role: options.role,
      ...describeDevice(VERSION),
      JoinCostMs: options.joinCostMs,
      JoinResult: options.joinResult ?? 0,
      ...options.device,
    });
  }

  /** The user is in the room: begin to measure. */
  start(): void {
    if (this.state !== "new") return;
    this.state = "running";
    this.reporter.joined(localNow());
    this.reportEvent(WebRtcEvent.entered);
    const { signal } = this.forget;
    document.addEventListener("visibilitychange", () => this.onVisibility(), { signal });
    window.addEventListener("pagehide", () => this.flush(), { signal });
    const network = (navigator as Navigator & { connection?: EventTarget }).connection;
    network?.addEventListener("change", () => this.reporter.describe({ NetworkType: networkType() }), { signal });
    void this.fixClock();
    this.schedule();
    void this.poll(false);
  }

  /** Measure this connection too. With `peer`, all its remote tracks are that user's. */
  addPeerConnection(pc: RTCPeerConnection, options: { peer?: string } = {}): void {
    this.connections.add(pc, options.peer);
  }

  removePeerConnection(pc: RTCPeerConnection): void {
    this.connections.remove(pc);
  }

  /** Say what a local track is. Untold, sound is `audio`, a captured screen `sub`, any other picture `big`. */
  addLocalTrack(track: MediaStreamTrack, options: LocalTrackOptions | StreamType): void {
    this.connections.bindLocal(track, typeof options === "string" ? { type: options } : options);
  }

  /** Say whose stream a remote track is. */
  addRemoteTrack(track: MediaStreamTrack, options: RemoteTrackOptions): void {
    this.connections.bindRemote(track, options);
  }

  /** Take back `addLocalTrack` or `addRemoteTrack`. */
  removeTrack(track: MediaStreamTrack): void {
    this.connections.unbind(track);
  }

  /** Say that a track is muted or paused on purpose, so that the silence is no stutter. */
  updateTrack(track: MediaStreamTrack, state: TrackState): void {
    this.connections.setState(track, state);
  }

  /** Report that something happened, now. Numbers: `WebRtcEvent`, or the SDK's. */
  reportEvent(eventId: number, options: EventOptions = {}): void {
    if (this.state === "over") return;
    this.reporter.addEvent(localNow(), {
      EventId: eventId,
      Type: options.type,
      ParamOne: options.paramOne,
      ParamTwo: options.paramTwo,
      PeerId: options.peerId,
    });
  }

  /** The user became anchor (20) or audience (21). */
  setRole(role: number): void {
    this.reporter.describe({ Role: role });
  }

  /** Go on with a new UserSig (and a new privateMapKey), after `unauthorized` or before the old one expires. */
  updateUserSig(userSig: string, privateMapKey: string | undefined = this.credentials.privateMapKey): void {
    this.credentials = given({ userSig, roomId: this.options.roomId, privateMapKey });
    this.sender.setCredentials(this.credentials);
  }

  /** Listen; the function that is returned stops listening. */
  on<Name extends keyof RoompulseListeners>(name: Name, listener: RoompulseListeners[Name]): () => void {
    const set = this.listeners[name] as Set<RoompulseListeners[Name]>;
    set.add(listener);
    return () => set.delete(listener);
  }

  /**
   * The user leaves the room: report the rest. Resolves when everything is safe, or after `timeoutMs`; what is still
   * pending then is sent by the next session of this user. `reason` as in the room's exit events.
   */
  async leave({ reason = LEAVE_NORMAL, timeoutMs = 5000 }: { reason?: number; timeoutMs?: number } = {}): Promise<void> {
    if (this.state !== "running") return;
    const deadline = localNow() + timeoutMs;
    while (this.offset === undefined && localNow() < deadline) await pause(20);
    await this.poll(false);
    this.reportEvent(WebRtcEvent.exited);
    this.reporter.addSamples(this.sampler.cut());
    this.state = "over";
    clearTimeout(this.pollTimer);
    this.connections.close();
    this.reporter.describe({ LeaveMs: Math.round(localNow() + (this.offset ?? 0)), LeaveReason: reason });
    this.finishReport();
    this.sender.kick();
    while (this.queue.length > 0 && localNow() < deadline && !this.sender.stopped) await pause(20);
    this.end();
  }

  private end(): void {
    this.state = "over";
    clearTimeout(this.pollTimer);
    this.connections.close();
    this.forget.abort();
    this.sender.stop();
    this.queue.release();
  }

  private now(): number {
    return localNow() + (this.offset ?? 0);
  }

  private schedule(): void {
    if (this.state !== "running") return;
    const toSecond = POLL_MS - (this.now() % POLL_MS);
    this.pollTimer = setTimeout(() => {
      this.schedule();
      void this.poll(true);
    }, toSecond + 2);
  }

  /** Take a snapshot; while one is being taken, another follows it. */
  private poll(scheduled: boolean): Promise<void> {
    if (this.polling !== undefined) {
      this.pollAgain ||= !scheduled;
      return this.polling;
    }
    this.polling = this.snapshot(scheduled).finally(() => {
      this.polling = undefined;
      if (!this.pollAgain || this.state !== "running") return;
      this.pollAgain = false;
      void this.poll(false);
    });
    return this.polling;
  }

  private async snapshot(scheduled: boolean): Promise<void> {
    const hidden = document.visibilityState === "hidden";
    const asked = localNow();
    const readings = await this.connections.read(hidden);
    const answered = localNow();
    const taken = Math.max(0, ...readings.local.map(({ at }) => at), ...readings.remote.map(({ at }) => at));
    const at = taken >= asked && taken <= answered ? taken : asked;
    if (this.state !== "running") return;
    this.checkClock();
    const taskMs = hidden ? undefined : answered - asked;
    this.untimed.push(given({ at, scheduled, ...readings, taskMs, memoryMb: memoryMb() }) as Snapshot);
    this.untimed = this.untimed.slice(-MAX_UNTIMED);
    this.process();
  }

  private process(): void {
    if (this.offset === undefined) return;
    for (const snapshot of this.untimed.splice(0)) {
      for (const sample of this.sampler.add({ ...snapshot, at: snapshot.at + this.offset })) {
        this.reporter.addSamples([sample]);
        if ((sample.StartMs + sample.DurMs) % REPORT_MS === 0) this.finishReport();
      }
    }
  }

  /** Put a report of what there is into the queue. */
  private finishReport(): void {
    if (this.offset === undefined || !this.reporter.finish(localNow(), this.offset)) return;
    setTimeout(() => this.sender.kick(), this.state === "over" ? 0 : this.spread);
  }

  /** The page may be gone in a moment. */
  private flush(): void {
    if (this.state === "new") return;
    this.reporter.addSamples(this.sampler.cut());
    this.finishReport();
    this.sender.flush();
  }

  private onVisibility(): void {
    if (document.visibilityState === "hidden") this.flush();
    else this.sender.kick();
    void this.poll(false);
  }

  private onConnectionChange(change: ConnectionChange): void {
    if (change === "connected") this.reportEvent(WebRtcEvent.mediaConnected);
    if (change === "lost") this.reportEvent(WebRtcEvent.mediaLost);
    if (this.state === "running") void this.poll(false);
  }

  private async fixClock(): Promise<void> {
    while (this.state === "running" && this.offset === undefined) {
      try {
        const offset = await measureOffset(this.options.endpoint.replace(/\/+$/, ""));
        this.clockReference = Date.now() - localNow();
        this.offset = offset;
      } catch (error) {
        this.fail("clock", 0, "", String(error));
        await pause(CLOCK_RETRY_MS);
      }
    }
    clearTimeout(this.pollTimer);
    this.schedule();
    this.process();
    if (this.offset !== undefined) await this.queue.adopt(this.now()).catch(() => undefined);
    this.sender.kick();
  }

  /** Once the machine has slept, the local clock is behind: the offset is no longer true. */
  private checkClock(): void {
    if (this.offset === undefined || !clockJumped(this.clockReference, Date.now() - localNow())) return;
    this.reporter.addSamples(this.sampler.reset());
    this.finishReport();
    this.offset = undefined;
    void this.fixClock();
  }

  private onAnswer(answer: Answer): void {
    const { verdict, status, code, reason } = answer;
    if (verdict === "accepted") {
      for (const item of answer.rejected) this.fail("rejected", status, item.Code, `${item.Field}: ${item.Reason}`);
      for (const listener of this.listeners.accepted) listener({ sessionId: answer.entry.sessionId, seq: answer.entry.seq });
      return;
    }
    this.fail(verdict === "again" ? "network" : verdict, status, code, reason);
    if (verdict === "forbidden") this.end();
  }

  private fail(kind: RoompulseError["kind"], status: number, code: string, reason: string): void {
    for (const listener of this.listeners.error) listener({ kind, status, code, reason });
  }
}

function freshId(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function browserStorage(): Store | undefined {
  try {
    return knowsOtherTabs ? window.localStorage : window.sessionStorage;
  } catch {
    return undefined;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
