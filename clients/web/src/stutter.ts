/**
 * Stutters out of getStats counters, polled about once a second. Times are milliseconds of server time, counters are
 * the browser's (seconds, frames, samples).
 *
 * Video: gaps between decoded frames of at least 600 ms. Audio: concealment of at least 200 ms.
 */

import type { Stutter } from "./report.js";

export const VIDEO_STUTTER_MS = 600;
export const AUDIO_STUTTER_MS = 200;

/** Differences of the video counters between two polls, at `from` and `to`. Absent counters are undefined. */
export interface VideoStep {
  from: number;
  to: number;
  /** Meant to play during the step: neither muted, paused, hidden nor ended. */
  playing: boolean;
  framesDecoded: number;
  /** Gaps between frames that the sums below are made of: one less than the frames when the very first is among them. */
  gaps: number;
  /** Sum of the gaps and of their squares, s and s². */
  interFrame?: number | undefined;
  interFrameSquared?: number | undefined;
  /** The sum of all gaps since the stream began: tells how old the last frame is. */
  totalInterFrame?: number | undefined;
  freezes?: number | undefined;
  freezesDuration?: number | undefined;
}

/**
 * The tight upper bound of the longest of `n` gaps with sum `s1` and sum of squares `s2`, in their unit; exact when
 * the other gaps are equal.
 */
export function longestGap(n: number, s1: number, s2: number): number {
  if (n <= 0) return 0;
  return (s1 + Math.sqrt(Math.max(0, (n - 1) * (n * s2 - s1 * s1)))) / n;
}

/** The part of a step's video that stood still, ms: 0 or at least 600. */
export function stillMs(step: VideoStep): number {
  if (step.interFrame !== undefined && step.interFrameSquared !== undefined) {
    const gap = longestGap(step.gaps, step.interFrame, step.interFrameSquared) * 1000;
    return gap >= VIDEO_STUTTER_MS ? gap : 0;
  }
  const freezes = step.freezes ?? 0;
  const duration = (step.freezesDuration ?? 0) * 1000;
  return freezes > 0 && duration / freezes >= VIDEO_STUTTER_MS ? duration : 0;
}

/**
 * Stutters of one received video stream.
 *
 * The browser books a gap only when the next frame comes. While none comes, an open gap is carried and given out with
 * its length so far; when the frame is there, the same start gets the length that the counters tell.
 */
export class VideoStutters {
  private open: Stutter | undefined;
  private liveSince: number | undefined;
  /** Candidates for the moment at which the sum of gaps was 0; a poll right after a frame gives the least. */
  private origins: number[] = [];
  private lastFrame: number | undefined;

  /** The stutters that this step began, lengthened or ended. */
  update(step: VideoStep): Stutter[] {
    if (!step.playing) {
      this.open = undefined;
      this.liveSince = undefined;
      this.followFrames(step);
      return [];
    }
    this.liveSince ??= step.from;
    return step.framesDecoded > 0 ? this.resume(step) : this.wait(step);
  }

  private wait(step: VideoStep): Stutter[] {
    const start = this.open?.[0] ?? Math.max(this.lastFrame ?? step.from, this.liveSince ?? step.from);
    const length = step.to - start;
    this.open = [start, length];
    return length >= VIDEO_STUTTER_MS ? [this.open] : [];
  }

  private resume(step: VideoStep): Stutter[] {
    const before = this.lastFrame;
    const open = this.open;
    this.open = undefined;
    this.followFrames(step);
    const still = stillMs(step);
    if (open !== undefined) {
      const sinceOpen = before === undefined ? still : before + still - open[0];
      const length = Math.min(Math.max(open[1], sinceOpen), step.to - open[0]);
      return length >= VIDEO_STUTTER_MS ? [[open[0], length]] : [];
    }
    if (still === 0) return [];
    const end = Math.min((this.startsBefore(step, still, before) ?? (this.lastFrame ?? step.to) - still) + still, step.to);
    const start = Math.max(end - still, this.liveSince ?? step.from);
    return end - start >= VIDEO_STUTTER_MS ? [[start, end - start]] : [];
  }

  /** The time of the frame before the step when the gap must have followed it: it was old already as the step began. */
  private startsBefore(step: VideoStep, still: number, before: number | undefined): number | undefined {
    if (before === undefined || step.interFrame === undefined || step.gaps < 1) return undefined;
    const usual = step.gaps > 1 ? (step.interFrame * 1000 - still) / (step.gaps - 1) : 0;
    return step.from - before > Math.max(100, 2 * usual) || step.gaps === 1 ? before : undefined;
  }

  private followFrames(step: VideoStep): void {
    if (step.framesDecoded === 0 || step.totalInterFrame === undefined) return;
    const sum = step.totalInterFrame * 1000;
    this.origins = [...this.origins, step.to - sum].slice(-8);
    // Frames came in this step, so the last of them cannot be older than it: else the sums were set back.
    if (Math.min(...this.origins) + sum < step.from) this.origins = [step.to - sum];
    this.lastFrame = Math.min(...this.origins) + sum;
  }
}

/** Differences of the audio counters between two polls, at `from` and `to`. */
export interface AudioStep {
  from: number;
  to: number;
  playing: boolean;
  samplesReceived: number;
  /** Seconds of sound that these samples were. */
  samplesDuration: number;
  concealedSamples: number;
  silentConcealedSamples: number;
  concealmentEvents: number;
}

/**
 * Stutters of one received audio stream: whole concealment events of at least 200 ms.
 *
 * Events are counted as they begin, so one that spans polls is kept open. A long outage fades to silence and is booked
 * as silent then, so silent concealment counts when the event began audible.
 */
export class AudioStutters {
  /** Seconds of the event that may go on, and when it began. */
  private open = 0;
  private start = 0;

  /** The stutters that this step began, lengthened or ended. */
  update(step: AudioStep): Stutter[] {
    if (!step.playing) {
      this.open = 0;
      return [];
    }
    if (step.samplesDuration <= 0 || step.samplesReceived <= 0) return [];
    const rate = step.samplesReceived / step.samplesDuration;
    const concealed = step.concealedSamples / rate;
    const silent = step.silentConcealedSamples / rate;
    const events = step.concealmentEvents;
    if (events <= 0) {
      if (concealed > 0) {
        if (this.open === 0) this.start = step.from;
        this.open += concealed;
      } else {
        this.open = 0;
      }
    } else if (events === 1) {
      this.open = concealed > silent ? concealed : 0;
      this.start = Math.max(step.from, step.to - concealed * 1000);
    } else {
      this.open = 0;
      return severalEvents(step, events, concealed);
    }
    const length = this.open * 1000;
    return length >= AUDIO_STUTTER_MS ? [[this.start, length]] : [];
  }
}

/** Several events in one step: all of them when they are long on average, else what one long among short ones is. */
function severalEvents(step: AudioStep, events: number, concealed: number): Stutter[] {
  const each = (concealed / events) * 1000;
  if (each >= AUDIO_STUTTER_MS) {
    const pace = Math.max((step.to - step.from) / events, each);
    return Array.from({ length: events }, (_, i): Stutter => [step.from + i * pace, each]);
  }
  const rest = (concealed - 0.02 * (events - 1)) * 1000;
  return rest >= AUDIO_STUTTER_MS ? [[Math.max(step.from, step.to - rest), rest]] : [];
}
