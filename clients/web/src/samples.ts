/** Samples out of snapshots: cells of the 2-second grid of server time, cut where the set of streams changes. */

import { growth } from "./arithmetic.js";
import type { Sample, Stutter } from "./report.js";
import { keyOf, type RemoteReading, type Snapshot } from "./stats.js";
import { AudioStutters, VideoStutters } from "./stutter.js";
import { OpenSample, index, plays } from "./totals.js";

export const GRID_MS = 2000;
/** A scheduled snapshot this little after a full second speaks for that second. */
const SNAP_MS = 100;
/** After a silence longer than this the machine slept: counters start anew and nothing is said about the time. */
const SILENCE_MS = 65_000;

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

/** What may not change within a sample: the streams and their sizes. */
function shape(snapshot: Snapshot): string {
  const streams = [...snapshot.local.map((r) => ["", r] as const), ...snapshot.remote.map((r) => ["r", r] as const)];
  return streams
    .map(([side, reading]) => `${side}${keyOf(reading)}:${reading.width}x${reading.height}`)
    .sort()
    .join();
}
