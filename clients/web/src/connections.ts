/** The peer connections of a session, and what each of their tracks is. */

import type { StreamType } from "./report.js";
import {
  keyOf,
  readStats,
  type Bindings,
  type LocalBinding,
  type LocalReading,
  type PathReading,
  type Reading,
  type RemoteBinding,
  type RemoteReading,
  type Stat,
} from "./stats.js";

export interface LocalTrackOptions {
  type: StreamType;
  /** Simulcast layers by their rid; without it the largest layer has the track's type and the others are `small`. */
  rids?: Record<string, StreamType>;
}

export interface RemoteTrackOptions {
  userId: string;
  type: StreamType;
  /** Where the track plays: while the element is paused, nothing is meant to play. */
  element?: HTMLMediaElement;
}

/** What the application knows of a track and the browser does not. */
export interface TrackState {
  /** The sender sends no picture or sound, on purpose. */
  muted?: boolean;
  /** The receiver does not play it, on purpose. */
  paused?: boolean;
}

/** A connection that was replaced by another one is silent; two that are alive differ by packets. */
const SILENT_MS = 1000;

/** How a connection came or went. */
export type ConnectionChange = "connected" | "lost" | "streams";

interface Member {
  pc: RTCPeerConnection;
  prefix: string;
  peer: string | undefined;
  forget: AbortController;
}

/** Tells tracks apart and reads all connections at once. */
export class Connections {
  private readonly members: Member[] = [];
  private readonly locals = new Map<MediaStreamTrack, LocalTrackOptions>();
  private readonly remotes = new Map<MediaStreamTrack, RemoteTrackOptions>();
  private readonly states = new WeakMap<MediaStreamTrack, TrackState>();
  private readonly watched = new WeakSet<MediaStreamTrack>();
  private counter = 0;

  /** `onChange` hears of what may start, stop or change a stream. */
  constructor(private readonly onChange: (change: ConnectionChange) => void) {}

  /** Read this connection too. `peer` is whose all its remote tracks are, in a call of one connection per peer. */
  add(pc: RTCPeerConnection, peer?: string): void {
    if (this.members.some((member) => member.pc === pc)) return;
    const forget = new AbortController();
    const { signal } = forget;
    this.members.push({ pc, prefix: `${(this.counter += 1)}/`, peer, forget });
    pc.addEventListener("track", ({ track }) => this.watch(track), { signal });
    pc.addEventListener("signalingstatechange", () => this.onChange("streams"), { signal });
    let connected = false;
    pc.addEventListener(
      "connectionstatechange",
      () => {
        const now = pc.connectionState === "connected";
        if (now !== connected && pc.connectionState !== "connecting") this.onChange(now ? "connected" : "lost");
        connected = now || (connected && pc.connectionState === "connecting");
      },
      { signal },
    );
    this.onChange("streams");
  }

  remove(pc: RTCPeerConnection): void {
    const at = this.members.findIndex((member) => member.pc === pc);
    if (at < 0) return;
    this.members[at]!.forget.abort();
    this.members.splice(at, 1);
    this.onChange("streams");
  }

  bindLocal(track: MediaStreamTrack, options: LocalTrackOptions): void {
    this.locals.set(track, options);
    this.watch(track);
  }

  bindRemote(track: MediaStreamTrack, options: RemoteTrackOptions): void {
    this.remotes.set(track, options);
    this.watch(track);
    for (const event of ["pause", "play"]) options.element?.addEventListener(event, () => this.onChange("streams"));
  }

  unbind(track: MediaStreamTrack): void {
    this.locals.delete(track);
    this.remotes.delete(track);
    this.onChange("streams");
  }

  setState(track: MediaStreamTrack, state: TrackState): void {
    this.states.set(track, { ...this.states.get(track), ...state });
    this.onChange("streams");
  }

  close(): void {
    for (const member of this.members.splice(0)) member.forget.abort();
  }

  /** Read every connection that is not closed. `hidden`: no picture is shown now. */
  async read(hidden: boolean): Promise<{ local: LocalReading[]; remote: RemoteReading[]; paths: PathReading[] }> {
    for (const { pc } of this.members.filter((member) => member.pc.signalingState === "closed")) this.remove(pc);
    const parts = await Promise.all(
      this.members.map(async (member) => {
        // A connection that closes meanwhile may have no stats any more.
        const report = await member.pc.getStats().catch(() => new Map<string, Stat>());
        return readStats(values(report), this.bindingsOf(member, hidden), member.prefix);
      }),
    );
    return {
      local: firstOfEach(parts.flatMap((part) => part.local)),
      remote: firstOfEach(parts.flatMap((part) => part.remote)),
      paths: parts.flatMap((part) => part.paths),
    };
  }

  private watch(track: MediaStreamTrack): void {
    if (this.watched.has(track)) return;
    this.watched.add(track);
    for (const event of ["mute", "unmute", "ended"]) track.addEventListener(event, () => this.onChange("streams"));
    this.onChange("streams");
  }

  private bindingsOf(member: Member, hidden: boolean): Bindings {
    const transceivers = member.pc.getTransceivers();
    const find = (side: "sender" | "receiver", mid: string | undefined, trackId: string | undefined) => {
      const of = (transceiver: RTCRtpTransceiver) => transceiver[side].track;
      const transceiver =
        transceivers.find((each) => mid !== undefined && each.mid === mid) ??
        transceivers.find((each) => trackId !== undefined && of(each)?.id === trackId);
      return transceiver && of(transceiver);
    };
    // One object per track, so that the layers of a simulcast are known to belong together.
    const known = new Map<MediaStreamTrack, LocalBinding | undefined>();
    return {
      local: (mid, trackId) => {
        const track = find("sender", mid, trackId);
        if (!track) return undefined;
        if (!known.has(track)) known.set(track, this.localBinding(track));
        return known.get(track);
      },
      remote: (mid, trackId) => {
        const track = find("receiver", mid, trackId);
        return track ? this.remoteBinding(track, member.peer, hidden) : undefined;
      },
    };
  }

  private localBinding(track: MediaStreamTrack): LocalBinding | undefined {
    if (track.readyState === "ended") return undefined;
    const options = this.locals.get(track) ?? { type: defaultType(track) };
    return { ...options, muted: !track.enabled || track.muted || this.states.get(track)?.muted === true };
  }

  private remoteBinding(track: MediaStreamTrack, peer: string | undefined, hidden: boolean): RemoteBinding | undefined {
    if (track.readyState === "ended") return undefined;
    const options = this.remotes.get(track) ?? (peer === undefined ? undefined : { userId: peer, type: defaultType(track) });
    if (options === undefined) return undefined;
    const state = this.states.get(track);
    const muted = track.muted || state?.muted === true;
    const unseen = track.kind === "video" && hidden;
    const idle = state?.paused === true || (options as RemoteTrackOptions).element?.paused === true;
    return { userId: options.userId, type: options.type, muted, playing: track.enabled && !muted && !unseen && !idle };
  }
}

/** What a track most probably is: sound, a screen, or the main picture. */
function defaultType(track: MediaStreamTrack): StreamType {
  if (track.kind === "audio") return "audio";
  return track.getSettings().displaySurface === undefined ? "big" : "sub";
}

/** A stream that goes over several connections counts on the first of them, unless only a later one is still heard. */
export function firstOfEach<T extends Reading & { heard?: number }>(readings: T[]): T[] {
  const found = new Map<string, T>();
  for (const reading of readings) {
    const first = found.get(keyOf(reading));
    if (first === undefined || (reading.heard ?? 0) > (first.heard ?? 0) + SILENT_MS) found.set(keyOf(reading), reading);
  }
  return [...found.values()];
}

function values(report: { forEach(visit: (stat: Stat) => void): void }): Stat[] {
  const stats: Stat[] = [];
  report.forEach((stat: Stat) => stats.push(stat));
  return stats;
}
