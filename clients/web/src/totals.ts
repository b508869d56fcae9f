/** What the streams of one sample add up to. */

import { Mean, Sum, growth, maximum, percent, round, sum, volumeOf, whole } from "./arithmetic.js";
import type { LocalStream, RemoteStream, Sample, Stutter } from "./report.js";
import { given, keyOf, type LocalReading, type PathReading, type Reading, type RemoteReading, type Snapshot } from "./stats.js";

/** A counter's growth between readings of the same counters. */
function grown<T extends { id: string }>(from: T, to: T | undefined, name: keyof T): number | undefined {
  if (to === undefined || to.id !== from.id) return undefined;
  return growth(from[name] as number | undefined, to[name] as number | undefined);
}

/** What one stream of either direction adds up to in one sample. */
class StreamTotals<T extends Reading> {
  readonly bits = new Mean();
  readonly energy = new Mean();
  latest: T;
  /** Constant in a sample, which ends where they change. */
  readonly size: { Width: number | undefined; Height: number | undefined };

  constructor(reading: T) {
    this.latest = reading;
    this.size = { Width: reading.width, Height: reading.height };
  }

  add(from: T, to: T | undefined, share: number): number | undefined {
    const span = grown(from, to, "at");
    const bytes = grown(from, to, "bytes");
    this.bits.add(bytes === undefined ? undefined : bytes * 8, span, share);
    this.energy.add(grown(from, to, "energy"), grown(from, to, "energyDuration"), share);
    if (to !== undefined) this.latest = to;
    return span;
  }

  volume(): number | undefined {
    const mean = this.energy.value();
    return this.latest.type !== "audio" || mean === undefined ? undefined : round(volumeOf(mean), 1);
  }
}

class LocalTotals extends StreamTotals<LocalReading> {
  private readonly captured = new Mean();
  private readonly encoded = new Mean();
  private readonly sent = new Mean();

  override add(from: LocalReading, to: LocalReading | undefined, share: number): number | undefined {
    const span = super.add(from, to, share);
    this.captured.add(grown(from, to, "framesCaptured"), span, share);
    this.encoded.add(grown(from, to, "framesEncoded"), span, share);
    this.sent.add(grown(from, to, "framesSent"), span, share);
    return span;
  }

  stream(): LocalStream {
    const last = this.latest;
    return given({
      Type: last.type,
      Bitrate: whole(this.bits.value(1000)),
      Loss: percent(last.loss),
      ...this.size,
      CapFps: round(this.captured.value(1000), 2),
      EncFps: round(this.encoded.value(1000), 2),
      SendFps: round(this.sent.value(1000), 2),
      Volume: this.volume(),
      SampleRate: last.sampleRate,
      Muted: last.muted,
    });
  }
}

class RemoteTotals extends StreamTotals<RemoteReading> {
  private readonly received = new Mean();
  private readonly decoded = new Mean();
  private readonly delay = new Mean();
  private readonly lost = new Mean();
  private play = 0;
  readonly stutters = new Map<number, number>();

  /** `elapsed` is the part of the sample that the step covers, milliseconds. */
  addStep(from: RemoteReading, to: RemoteReading | undefined, share: number, elapsed: number): void {
    const span = super.add(from, to, share);
    this.received.add(grown(from, to, "framesReceived"), span, share);
    this.decoded.add(grown(from, to, "framesDecoded"), span, share);
    const lost = grown(from, to, "packetsLost");
    this.lost.add(lost, sum(lost, grown(from, to, "packets")), share);
    if (from.type === "audio") this.delay.add(grown(from, to, "buffered"), grown(from, to, "bufferedCount"), share);
    else this.delay.add(grown(from, to, "processing"), grown(from, to, "framesDecoded"), share);
    if (!plays(from)) return;
    const sounded = from.type === "audio" ? grown(from, to, "samplesDuration") : undefined;
    this.play += sounded === undefined ? elapsed : Math.min(elapsed, sounded * 1000 * share);
  }

  addStutters(stutters: Stutter[]): void {
    for (const [start, length] of stutters) this.stutters.set(Math.round(start), Math.round(length));
  }

  /** `roundTrip` in milliseconds: half of it is the way from the server. */
  stream(duration: number, roundTrip: number | undefined): RemoteStream {
    const last = this.latest;
    const delay = this.delay.value(1000);
    const jitter = last.jitter;
    return given({
      UserId: last.userId,
      Type: last.type,
      Bitrate: whole(this.bits.value(1000)),
      Loss: percent(this.lost.value(100)),
      ...this.size,
      RecFps: round(this.received.value(1000), 2),
      DecFps: round(this.decoded.value(1000), 2),
      JitterMs: whole(jitter === undefined ? undefined : jitter * 1000),
      DelayMs: whole(delay === undefined ? undefined : delay + (roundTrip ?? 0) / 2),
      Volume: this.volume(),
      PlayMs: Math.min(duration, Math.round(this.play)),
      Muted: last.muted,
      Stutters: this.stutters.size > 0 ? [...this.stutters] : undefined,
    });
  }
}

/** Whether a stream is meant to play and has begun to: before its first frame it can neither play nor stutter. */
export function plays(reading: RemoteReading): boolean {
  return reading.playing && (reading.type === "audio" || reading.framesDecoded !== 0);
}

/** The sample that is being filled. */
export class OpenSample {
  private readonly local = new Map<string, LocalTotals>();
  private readonly remote = new Map<string, RemoteTotals>();
  private readonly roundTrip = new Mean();
  private readonly upLoss = new Mean();
  private readonly downLoss = new Mean();
  private readonly sent = new Sum();
  private readonly received = new Sum();
  private taskMs: number | undefined;
  private memoryMb: number | undefined;

  constructor(
    readonly start: number,
    snapshot: Snapshot,
  ) {
    for (const reading of snapshot.local) this.local.set(keyOf(reading), new LocalTotals(reading));
    for (const reading of snapshot.remote) this.remote.set(keyOf(reading), new RemoteTotals(reading));
  }

  /** Add `share` of what happened between two snapshots, `elapsed` milliseconds of this sample. */
  add(from: Snapshot, to: Snapshot, share: number, elapsed: number): void {
    const locals = index(to.local);
    for (const reading of from.local) {
      const next = locals.get(keyOf(reading));
      this.local.get(keyOf(reading))?.add(reading, next, share);
      const packets = grown(reading, next, "packets");
      if (next?.loss !== undefined && packets !== undefined) this.upLoss.add(next.loss * packets, packets, share);
    }
    const remotes = index(to.remote);
    for (const reading of from.remote) {
      const next = remotes.get(keyOf(reading));
      this.remote.get(keyOf(reading))?.addStep(reading, next, share, elapsed);
      const lost = grown(reading, next, "packetsLost");
      this.downLoss.add(lost, sum(lost, grown(reading, next, "packets")), share);
    }
    const paths = new Map(to.paths.map((path) => [path.id, path]));
    for (const path of from.paths) this.addPath(path, paths.get(path.id), share, elapsed);
    this.taskMs = maximum(this.taskMs, to.taskMs);
    this.memoryMb = to.memoryMb ?? this.memoryMb;
  }

  private addPath(from: PathReading, to: PathReading | undefined, share: number, elapsed: number): void {
    this.sent.add(grown(from, to, "sent"), share);
    this.received.add(grown(from, to, "received"), share);
    const answers = grown(from, to, "roundTrips") ?? 0;
    const total = grown(from, to, "roundTripTotal");
    const seconds = answers > 0 && total !== undefined ? total / answers : to?.roundTrip;
    if (seconds !== undefined) this.roundTrip.add(seconds * 1000 * elapsed, elapsed);
  }

  addStutters(stutters: Map<string, Stutter[]>): void {
    for (const [key, episodes] of stutters) this.remote.get(key)?.addStutters(episodes);
  }

  close(end: number): Sample {
    const duration = end - this.start;
    const roundTrip = this.roundTrip.value();
    return given({
      StartMs: this.start,
      DurMs: duration,
      MemoryMb: whole(this.memoryMb),
      SdkTaskMs: whole(this.taskMs),
      Rtt: whole(roundTrip),
      UpLoss: percent(this.upLoss.value()),
      DownLoss: percent(this.downLoss.value(100)),
      SentBytes: whole(this.sent.value()),
      ReceivedBytes: whole(this.received.value()),
      Local: [...this.local.values()].map((totals) => totals.stream()),
      Remote: [...this.remote.values()].map((totals) => totals.stream(duration, roundTrip)),
    });
  }
}

/** Readings by stream. */
export function index<T extends Reading & { userId?: string }>(readings: T[]): Map<string, T> {
  return new Map(readings.map((reading) => [keyOf(reading), reading]));
}
