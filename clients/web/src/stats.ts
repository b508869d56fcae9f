/** What getStats says, reduced to the counters that samples are made of. No arithmetic over time happens here. */

import type { StreamType } from "./report.js";

/** One entry of a stats report: browsers know more members than the DOM's types do. */
export type Stat = { id: string; type: string; timestamp: number } & Record<string, unknown>;

/** What a local track is sent as. `rids` names the types of simulcast layers. */
export interface LocalBinding {
  type: StreamType;
  muted: boolean;
  rids?: Record<string, StreamType>;
}

/** Whose stream a remote track is, and whether it is meant to play now. */
export interface RemoteBinding {
  userId: string;
  type: StreamType;
  muted: boolean;
  playing: boolean;
}

/** Finds out what a stream is, by its media line and the identifier of its track. */
export interface Bindings {
  local(mid: string | undefined, trackId: string | undefined): LocalBinding | undefined;
  remote(mid: string | undefined, trackId: string | undefined): RemoteBinding | undefined;
}

/** Counters since the stream began (`…` of the browser's own units) and present values; absent is unknown. */
export interface Reading {
  /** Another id means other counters: a new connection, encoder or source. */
  id: string;
  /** When the browser took the values, milliseconds. */
  at: number;
  type: StreamType;
  muted: boolean;
  bytes?: number;
  packets?: number;
  width?: number;
  height?: number;
  energy?: number;
  energyDuration?: number;
}

export interface LocalReading extends Reading {
  /** Per cent of the last receiver report, where one came lately. */
  loss?: number;
  framesCaptured?: number;
  framesEncoded?: number;
  framesSent?: number;
  sampleRate?: number;
}

export interface RemoteReading extends Reading {
  userId: string;
  playing: boolean;
  /** When the last packet came. */
  heard?: number;
  packetsLost?: number;
  framesReceived?: number;
  framesDecoded?: number;
  jitter?: number;
  buffered?: number;
  bufferedCount?: number;
  processing?: number;
  interFrame?: number;
  interFrameSquared?: number;
  freezes?: number;
  freezesDuration?: number;
  samplesReceived?: number;
  samplesDuration?: number;
  concealedSamples?: number;
  silentConcealedSamples?: number;
  concealmentEvents?: number;
}

/** The way to the server: bytes on the wire and the round trip of connectivity checks, seconds. */
export interface PathReading {
  id: string;
  sent?: number;
  received?: number;
  roundTrip?: number;
  roundTripTotal?: number;
  roundTrips?: number;
}

/** All connections of the user at one time. */
export interface Snapshot {
  /** Server time, milliseconds. */
  at: number;
  /** Taken because the second was full, and not because something happened. */
  scheduled: boolean;
  local: LocalReading[];
  remote: RemoteReading[];
  paths: PathReading[];
  /** How long the browser took to answer, milliseconds. */
  taskMs?: number;
  memoryMb?: number;
}

/** A receiver report is news for as long as the slowest interval of RTCP. */
const FRESH_REPORT_MS = 10_000;

/** The readings of one connection; `prefix` sets its ids apart from other connections'. */
export function readStats(
  stats: Iterable<Stat>,
  bindings: Bindings,
  prefix = "",
): { local: LocalReading[]; remote: RemoteReading[]; paths: PathReading[] } {
  const byId = new Map<string, Stat>();
  for (const stat of stats) byId.set(stat.id, stat);
  const outbound: [Stat, LocalBinding][] = [];
  const remote: RemoteReading[] = [];
  for (const stat of byId.values()) {
    if (stat.type === "outbound-rtp" && stat["active"] !== false) {
      const source = byId.get(text(stat, "mediaSourceId") ?? "");
      const binding = bindings.local(text(stat, "mid"), source && text(source, "trackIdentifier"));
      if (binding) outbound.push([stat, binding]);
    } else if (stat.type === "inbound-rtp") {
      const binding = bindings.remote(text(stat, "mid"), text(stat, "trackIdentifier"));
      if (binding) remote.push(readInbound(stat, binding, prefix));
    }
  }
  return { local: readOutbound(outbound, byId, prefix), remote: unique(remote), paths: readPaths(byId, prefix) };
}

function readInbound(stat: Stat, binding: RemoteBinding, prefix: string): RemoteReading {
  return given({
    id: prefix + stat.id,
    at: stat.timestamp,
    type: binding.type,
    userId: binding.userId,
    muted: binding.muted,
    playing: binding.playing,
    bytes: number(stat, "bytesReceived"),
    packets: number(stat, "packetsReceived"),
    heard: number(stat, "lastPacketReceivedTimestamp"),
    packetsLost: number(stat, "packetsLost"),
    width: number(stat, "frameWidth"),
    height: number(stat, "frameHeight"),
    energy: number(stat, "totalAudioEnergy"),
    energyDuration: number(stat, "totalSamplesDuration"),
    framesReceived: number(stat, "framesReceived"),
    framesDecoded: number(stat, "framesDecoded"),
    jitter: number(stat, "jitter"),
    buffered: number(stat, "jitterBufferDelay"),
    bufferedCount: number(stat, "jitterBufferEmittedCount"),
    processing: number(stat, "totalProcessingDelay"),
    interFrame: number(stat, "totalInterFrameDelay"),
    interFrameSquared: number(stat, "totalSquaredInterFrameDelay"),
    freezes: number(stat, "freezeCount"),
    freezesDuration: number(stat, "totalFreezesDuration"),
    samplesReceived: number(stat, "totalSamplesReceived"),
    samplesDuration: number(stat, "totalSamplesDuration"),
    concealedSamples: number(stat, "concealedSamples"),
    silentConcealedSamples: number(stat, "silentConcealedSamples"),
    concealmentEvents: number(stat, "concealmentEvents"),
  });
}

/** Of simulcast layers the largest is what the track is bound as, the others are its small twin. */
function readOutbound(outbound: [Stat, LocalBinding][], byId: Map<string, Stat>, prefix: string): LocalReading[] {
  const bySize = [...outbound].sort(([a], [b]) => (number(b, "frameHeight") ?? 0) - (number(a, "frameHeight") ?? 0));
  const bound = new Set<LocalBinding>();
  const readings = bySize.map(([stat, binding]): LocalReading => {
    const named = binding.rids?.[text(stat, "rid") ?? ""];
    const type = named ?? (bound.has(binding) && binding.type === "big" ? "small" : binding.type);
    bound.add(binding);
    const source = byId.get(text(stat, "mediaSourceId") ?? "");
    const report = byId.get(text(stat, "remoteId") ?? "");
    const codec = byId.get(text(stat, "codecId") ?? "");
    const fresh = report !== undefined && stat.timestamp - report.timestamp < FRESH_REPORT_MS;
    const lost = fresh ? number(report, "fractionLost") : undefined;
    return given({
      id: prefix + stat.id,
      at: stat.timestamp,
      type,
      muted: binding.muted,
      bytes: number(stat, "bytesSent"),
      packets: number(stat, "packetsSent"),
      width: number(stat, "frameWidth"),
      height: number(stat, "frameHeight"),
      energy: source && number(source, "totalAudioEnergy"),
      energyDuration: source && number(source, "totalSamplesDuration"),
      loss: lost === undefined ? undefined : lost * 100,
      framesCaptured: source && number(source, "frames"),
      framesEncoded: number(stat, "framesEncoded"),
      framesSent: number(stat, "framesSent"),
      sampleRate: type === "audio" ? codec && number(codec, "clockRate") : undefined,
    });
  });
  return unique(readings);
}

function readPaths(byId: Map<string, Stat>, prefix: string): PathReading[] {
  const transports = [...byId.values()].filter((stat) => stat.type === "transport");
  const pairs =
    transports.length > 0
      ? transports.map((transport) => byId.get(text(transport, "selectedCandidatePairId") ?? ""))
      : [...byId.values()].filter(
          (stat) => stat.type === "candidate-pair" && (stat["selected"] === true || stat["nominated"] === true),
        );
  return pairs
    .filter((pair) => pair !== undefined)
    .map((pair) =>
      given({
        id: prefix + pair.id,
        sent: number(pair, "bytesSent"),
        received: number(pair, "bytesReceived"),
        roundTrip: number(pair, "currentRoundTripTime"),
        roundTripTotal: number(pair, "totalRoundTripTime"),
        roundTrips: number(pair, "responsesReceived"),
      }),
    );
}

/** Tells streams apart: a user has at most one of each type. */
export function keyOf(reading: Reading & { userId?: string }): string {
  return `${reading.userId ?? ""}/${reading.type}`;
}

/** One reading per stream: a re-used media line may leave its old counters behind, the one heard last is alive. */
function unique<T extends Reading & { userId?: string; heard?: number }>(readings: T[]): T[] {
  const found = new Map<string, T>();
  const age = (reading: T) => [reading.heard ?? 0, reading.bytes ?? 0] as const;
  for (const reading of readings) {
    const other = found.get(keyOf(reading));
    if (other === undefined || later(age(reading), age(other))) found.set(keyOf(reading), reading);
  }
  return [...found.values()];
}

function later(a: readonly [number, number], b: readonly [number, number]): boolean {
  return a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]);
}

function number(stat: Stat, name: string): number | undefined {
  const value = stat[name];
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

function text(stat: Stat, name: string): string | undefined {
  const value = stat[name];
  return typeof value === "string" ? value : undefined;
}

type Given<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** The object without the members that are undefined: what is absent stays absent. */
export function given<T extends object>(members: T): Given<T> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Given<T>;
}
