/** One user's stay in one room: measures its connections and reports what was measured. */

import { clockJumped, localNow, measureOffset } from "./clock.js";
import { Connections, type ConnectionChange, type LocalTrackOptions, type RemoteTrackOptions, type TrackState } from "./connections.js";
import { describeDevice, memoryMb, networkType } from "./device.js";
import { WebRtcEvent } from "./events.js";
import { ReportQueue, type Store } from "./queue.js";
import { divideSamples, type ClientEvent, type ClientPart, type Report, type Sample, type StreamType } from "./report.js";
import { Sampler } from "./samples.js";
import { Sender, type Answer } from "./sender.js";
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

export interface RoompulseOptions {
  /** Address of ingest, such as `https://rtc.example.com`, without a path of its own calls. */
  endpoint: string;
  sdkAppId: number;
  userId: string;
  userSig: string;
  /** A number and the text of that number are two different rooms. */
  roomId: number | string;
  /** 20 sends and receives, 21 only receives. */
  role?: number;
  /** Only where the application demands it. */
  privateMapKey?: string;
  /** How long entering the room took, and its result (0 is success). */
  joinCostMs?: number;
  joinResult?: number;
  /** Replaces what is found out about the device. */
  device?: ClientPart;
  /** Where pending reports wait over reloads; `null` keeps them in memory only. Default: the tab's sessionStorage. */
  storage?: Store | null;
}

export interface RoompulseError {
  /**
   * `unauthorized`: nothing is sent until `updateUserSig`. `forbidden`: the session has stopped. `refused`: a report
   * was dropped. `rejected`: items of a report were. `overflow`: the oldest pending report was given up.
   * `network`: no or a passing answer, it is sent again. `clock`: the server's time cannot be had yet.
   */
  kind: "unauthorized" | "forbidden" | "refused" | "rejected" | "overflow" | "network" | "clock";
  status: number;
  code: string;
  reason: string;
}

export interface RoompulseListeners {
  error: (error: RoompulseError) => void;
  /** A report is safe. */
  accepted: (report: { sessionId: string; seq: number }) => void;
}

export interface EventOptions {
  paramOne?: number;
  paramTwo?: number;
  /** Whose stream the event is about, where it is a peer's. */
  peerId?: string;
  /** Which picture: 2 big, 3 small, 7 sub. */
  type?: number;
}

/** Create one when the user enters a room, `start` it, add connections, `leave` at the end. */
export class RoompulseClient {
  readonly sessionId = freshId();
  private readonly sampler = new Sampler();
  private readonly queue: ReportQueue;
  private readonly sender: Sender;
  private readonly connections = new Connections((change) => this.onConnectionChange(change));
  private readonly listeners = { error: new Set<RoompulseListeners["error"]>(), accepted: new Set<RoompulseListeners["accepted"]>() };
  private readonly forget = new AbortController();
  private readonly spread = Math.random() * SPREAD_MS;
  private client: ClientPart;
  private clientChanged = true;
  private state: "new" | "running" | "over" = "new";
  private seq = 0;
  private offset: number | undefined;
  private clockReference = 0;
  private untimed: Snapshot[] = [];
  private samples: Sample[] = [];
  private events: { at: number; event: Omit<ClientEvent, "AtMs"> }[] = [];
  private pollTimer: ReturnType<typeof setTimeout> | undefined;
  private polling: Promise<void> | undefined;
  private pollAgain = false;
  private joinedAt = 0;

  constructor(private readonly options: RoompulseOptions) {
    const store = options.storage === undefined ? tabStorage() : (options.storage ?? undefined);
    this.queue = new ReportQueue(store, options.sdkAppId, options.userId, this.sessionId);
    const url = `${options.endpoint.replace(/\/+$/, "")}/v1/reports`;
    this.sender = new Sender(url, this.queue, options.userSig, (answer) => this.onAnswer(answer));
    this.client = given({
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
    this.joinedAt = localNow();
    this.reportEvent(WebRtcEvent.entered);
    const { signal } = this.forget;
    document.addEventListener("visibilitychange", () => this.onVisibility(), { signal });
    window.addEventListener("pagehide", () => this.flush(), { signal });
    const network = (navigator as Navigator & { connection?: EventTarget }).connection;
    network?.addEventListener("change", () => this.describe({ NetworkType: networkType() }), { signal });
    void this.fixClock();
    this.schedule();
    this.sender.kick();
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
    this.events.push({
      at: localNow(),
      event: given({
        EventId: eventId,
        Type: options.type,
        ParamOne: options.paramOne,
        ParamTwo: options.paramTwo,
        PeerId: options.peerId,
      }),
    });
  }

  /** The user became anchor (20) or audience (21). */
  setRole(role: number): void {
    this.describe({ Role: role });
  }

  /** Go on with a new UserSig, after `unauthorized` or before the old one expires. */
  updateUserSig(userSig: string): void {
    this.sender.setUserSig(userSig);
  }

  /** Listen; the function that is returned stops listening. */
  on<Name extends keyof RoompulseListeners>(name: Name, listener: RoompulseListeners[Name]): () => void {
    const set = this.listeners[name] as Set<RoompulseListeners[Name]>;
    set.add(listener);
    return () => set.delete(listener);
  }

  /**
   * The user leaves the room: report the rest. Resolves when everything is safe, or after `timeoutMs`; what is still
   * pending then is sent by the next session of this user in this tab. `reason` as in the room's exit events.
   */
  async leave({ reason = LEAVE_NORMAL, timeoutMs = 5000 }: { reason?: number; timeoutMs?: number } = {}): Promise<void> {
    if (this.state !== "running") return;
    const deadline = localNow() + timeoutMs;
    while (this.offset === undefined && localNow() < deadline) await pause(20);
    await this.poll(false);
    this.reportEvent(WebRtcEvent.exited);
    this.samples.push(...this.sampler.cut());
    this.state = "over";
    clearTimeout(this.pollTimer);
    this.connections.close();
    this.describe({ LeaveMs: Math.round(localNow() + (this.offset ?? 0)), LeaveReason: reason });
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

  private describe(change: { [K in keyof ClientPart]: ClientPart[K] | undefined }): void {
    this.client = given({ ...this.client, ...change }) as ClientPart;
    this.clientChanged = true;
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
        this.samples.push(sample);
        if ((sample.StartMs + sample.DurMs) % REPORT_MS === 0) this.finishReport();
      }
    }
  }

  /** Make a report of what there is and put it into the queue. */
  private finishReport(): void {
    if (this.offset === undefined) return;
    const samples = this.samples.splice(0);
    const events = this.events.splice(0).map(({ at, event }) => ({ AtMs: Math.round(at + this.offset!), ...event }));
    if (samples.length === 0 && events.length === 0 && !this.clientChanged) return;
    divideSamples(samples).forEach((part, i) => this.enqueue(part, i === 0 ? events : []));
    setTimeout(() => this.sender.kick(), this.state === "over" ? 0 : this.spread);
  }

  private enqueue(samples: Sample[], events: ClientEvent[]): void {
    const { sdkAppId, userId, roomId, privateMapKey } = this.options;
    const report: Report = given({
      SdkAppId: sdkAppId,
      UserId: userId,
      RoomId: roomId,
      PrivateMapKey: privateMapKey,
      SessionId: this.sessionId,
      Seq: (this.seq += 1),
      SentMs: Math.round(this.now()),
      Client: this.clientChanged
        ? { ...this.client, JoinMs: this.client.JoinMs ?? Math.round(this.joinedAt + (this.offset ?? 0)) }
        : undefined,
      Samples: samples,
      Events: events,
    });
    this.clientChanged = false;
    const lost = this.queue.push({ sessionId: this.sessionId, seq: report.Seq, body: JSON.stringify(report) });
    for (const entry of lost) this.fail("overflow", 0, "", `report ${entry.seq} was given up, too many are pending`);
  }

  /** The page may be gone in a moment. */
  private flush(): void {
    if (this.state === "new") return;
    this.samples.push(...this.sampler.cut());
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
  }

  /** Once the machine has slept, the local clock is behind: the offset is no longer true. */
  private checkClock(): void {
    if (this.offset === undefined || !clockJumped(this.clockReference, Date.now() - localNow())) return;
    this.samples.push(...this.sampler.reset());
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

function tabStorage(): Store | undefined {
  try {
    return window.sessionStorage;
  } catch {
    return undefined;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
