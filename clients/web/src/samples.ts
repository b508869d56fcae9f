/** Samples out of snapshots: cells of the 2-second grid of server time, cut where the set of streams changes. */

import type { LocalStream, RemoteStream, Sample, Stutter } from "./report.js";
import { given, keyOf, type LocalReading, type PathReading, type Reading, type RemoteReading, type Snapshot } from "./stats.js";
import { AudioStutters, VideoStutters } from "./stutter.js";

export const GRID_MS = 2000;
/** A scheduled snapshot this little after a full second speaks for that second. */
const SNAP_MS = 100;
/** After a silence longer than this the machine slept: counters start anew and nothing is said about the time. */
const SILENCE_MS = 65_000;

/** Sum of amounts over the time in which each was measured. */
class Mean {
  private amount = 0;
  private over = 0;

  add(amount: number | undefined, over: number | undefined, share = 1): void {
    if (amount === undefined || over === undefined) return;
    this.amount += amount * share;
    this.over += over * share;
  }

  value(scale = 1): number | undefined {
    return this.over > 0 ? (this.amount / this.over) * scale : undefined;
  }
}

/** Sum of what was given; unknown while nothing was. */
class Sum {
  private amount: number | undefined;

  add(amount: number | undefined, share = 1): void {
    if (amount !== undefined) this.amount = (this.amount ?? 0) + amount * share;
  }

  value(): number | undefined {
    return this.amount;
  }
}

/** Growth of a counter; unknown when either value is, or when it was set back. */
function growth(from: number | undefined, to: number | undefined): number | undefined {
  return from === undefined || to === undefined || to < from ? undefined : to - from;
}

/** A counter's growth between readings of the same counters. */
function grown<T extends { id: string }>(from: T, to: T | undefined, name: keyof T): number | undefined {
  if (to === undefined || to.id !== from.id) return undefined;
  return growth(from[name] as number | undefined, to[name] as number | undefined);
}

/**
 * Loudness 0 to 100 of mean square energy relative to full scale: 100 is the loudest sound, 20 less a tenth of the
 * amplitude, 0 silence.
 */
export function volumeOf(meanSquare: number): number {
  return meanSquare > 0 ? Math.max(0, Math.min(100, 100 + 10 * Math.log10(meanSquare))) : 0;
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
function plays(reading: RemoteReading): boolean {
  return reading.playing && (reading.type === "audio" || reading.framesDecoded !== 0);
}

/** The sample that is being filled. */
class OpenSample {
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

/** Turns snapshots, in order of time, into samples. */
export class Sampler {
  private last: Snapshot | undefined;
  private open: OpenSample | undefined;
  /** Up to where samples say something, server time. */
  private position = 0;
  private readonly video = new Map<string, VideoStutters>();
  private readonly audio = new Map<string, AudioStutters>();

  /** The samples that this snapshot completes. */
  add(next: Snapshot): Sample[] {
    const last = this.last;
    const open = this.open;
    if (last === undefined || open === undefined) return this.restart(next);
    if (next.at - last.at > SILENCE_MS) return [...this.cut(), ...this.restart(next)];
    const at = this.place(next);
    if (at <= this.position) return [];
    const stutters = this.stuttersBetween(last, next);
    const samples = this.fill(open, last, next, at, stutters);
    if (this.open !== undefined && this.open.start < at && shape(last) !== shape(next)) {
      samples.push(this.open.close(at));
      this.open = new OpenSample(at, next);
    }
    this.last = next;
    this.position = at;
    return samples;
  }

  /** End the open sample where the last snapshot was, and go on with a new one. */
  cut(): Sample[] {
    if (this.open === undefined || this.last === undefined || this.open.start >= this.position) return [];
    const sample = this.open.close(this.position);
    this.open = new OpenSample(this.position, this.last);
    return [sample];
  }

  /** End the open sample and forget the counters: time itself is in doubt. */
  reset(): Sample[] {
    const samples = this.cut();
    this.last = undefined;
    this.open = undefined;
    return samples;
  }

  private restart(snapshot: Snapshot): Sample[] {
    this.video.clear();
    this.audio.clear();
    this.last = snapshot;
    this.position = Math.max(Math.round(snapshot.at), this.position);
    this.open = new OpenSample(this.position, snapshot);
    return [];
  }

  private place(snapshot: Snapshot): number {
    const at = Math.round(snapshot.at);
    const second = at - (at % 1000);
    return snapshot.scheduled && at - second < SNAP_MS && second > this.position ? second : at;
  }

  private fill(open: OpenSample, last: Snapshot, next: Snapshot, at: number, stutters: Map<string, Stutter[]>): Sample[] {
    const samples: Sample[] = [];
    const whole = at - this.position;
    let current = open;
    for (let from = this.position; from < at; ) {
      const edge = from - (from % GRID_MS) + GRID_MS;
      const to = Math.min(edge, at);
      current.add(last, next, (to - from) / whole, to - from);
      if (to === at) current.addStutters(stutters);
      if (to === edge) {
        samples.push(current.close(edge));
        current = new OpenSample(edge, to === at ? next : last);
      }
      from = to;
    }
    this.open = current;
    return samples;
  }

  private stuttersBetween(last: Snapshot, next: Snapshot): Map<string, Stutter[]> {
    const found = new Map<string, Stutter[]>();
    const after = index(next.remote);
    for (const from of last.remote) {
      const key = keyOf(from);
      const to = after.get(key);
      if (to === undefined || to.id !== from.id) {
        this.video.delete(key);
        this.audio.delete(key);
        continue;
      }
      const episodes =
        from.type === "audio"
          ? this.audioStutters(key, from, to, last.at, next.at)
          : this.videoStutters(key, from, to, last.at, next.at);
      if (episodes.length > 0) found.set(key, episodes);
    }
    return found;
  }

  private videoStutters(key: string, from: RemoteReading, to: RemoteReading, since: number, until: number): Stutter[] {
    const frames = growth(from.framesDecoded, to.framesDecoded);
    if (frames === undefined) {
      this.video.delete(key);
      return [];
    }
    const known = this.video.get(key) ?? new VideoStutters();
    this.video.set(key, known);
    // A screen that stands still sends few frames on purpose: only what the browser calls a freeze counts there.
    const gapsTell = to.type !== "sub";
    if (!gapsTell && frames === 0) return [];
    return known.update({
      from: since,
      to: until,
      playing: plays(from),
      framesDecoded: frames,
      gaps: from.framesDecoded === 0 ? frames - 1 : frames,
      interFrame: gapsTell ? growth(from.interFrame, to.interFrame) : undefined,
      interFrameSquared: gapsTell ? growth(from.interFrameSquared, to.interFrameSquared) : undefined,
      totalInterFrame: gapsTell ? to.interFrame : undefined,
      freezes: growth(from.freezes, to.freezes),
      freezesDuration: growth(from.freezesDuration, to.freezesDuration),
    });
  }

  private audioStutters(key: string, from: RemoteReading, to: RemoteReading, since: number, until: number): Stutter[] {
    const samplesReceived = growth(from.samplesReceived, to.samplesReceived);
    const samplesDuration = growth(from.samplesDuration, to.samplesDuration);
    const concealedSamples = growth(from.concealedSamples, to.concealedSamples);
    const silentConcealedSamples = growth(from.silentConcealedSamples, to.silentConcealedSamples);
    const concealmentEvents = growth(from.concealmentEvents, to.concealmentEvents);
    if (
      samplesReceived === undefined ||
      samplesDuration === undefined ||
      concealedSamples === undefined ||
      silentConcealedSamples === undefined ||
      concealmentEvents === undefined
    ) {
      this.audio.delete(key);
      return [];
    }
    const known = this.audio.get(key) ?? new AudioStutters();
    this.audio.set(key, known);
    return known.update({
      from: since,
      to: until,
      playing: plays(from),
      samplesReceived,
      samplesDuration,
      concealedSamples,
      silentConcealedSamples,
      concealmentEvents,
    });
  }
}

function index<T extends Reading & { userId?: string }>(readings: T[]): Map<string, T> {
  return new Map(readings.map((reading) => [keyOf(reading), reading]));
}

/** What may not change within a sample: the streams and their sizes. */
function shape(snapshot: Snapshot): string {
  const streams = [...snapshot.local.map((r) => ["", r] as const), ...snapshot.remote.map((r) => ["r", r] as const)];
  return streams
    .map(([side, reading]) => `${side}${keyOf(reading)}:${reading.width}x${reading.height}`)
    .sort()
    .join();
}

function sum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b;
}

function maximum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.max(a, b);
}

function whole(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Math.max(0, Math.round(value));
}

function round(value: number | undefined, digits: number): number | undefined {
  return value === undefined ? undefined : Number(value.toFixed(digits));
}

function percent(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Number(Math.max(0, Math.min(100, value)).toFixed(2));
}
