import assert from "node:assert/strict";
import { test } from "node:test";
import type { Stutter } from "../src/report.js";
import { AudioStutters, longestGap, stillMs, VideoStutters, type AudioStep, type VideoStep } from "../src/stutter.js";

/** Counters of a stream whose frames are decoded at these times (ms), read at each of `polls`. */
function stepsOf(frames: number[], polls: number[], playing: (from: number) => boolean = () => true): VideoStep[] {
  const gaps = frames.map((at, i) => (i === 0 ? 0 : (at - frames[i - 1]!) / 1000));
  const upTo = (poll: number) => {
    const seen = gaps.filter((_, i) => frames[i]! <= poll);
    return { n: seen.length, s1: seen.reduce((a, b) => a + b, 0), s2: seen.reduce((a, b) => a + b * b, 0) };
  };
  return polls.slice(1).map((to, i) => {
    const from = polls[i]!;
    const [before, after] = [upTo(from), upTo(to)];
    const framesDecoded = after.n - before.n;
    return {
      from,
      to,
      playing: playing(from),
      framesDecoded,
      gaps: before.n === 0 ? framesDecoded - 1 : framesDecoded,
      interFrame: after.s1 - before.s1,
      interFrameSquared: after.s2 - before.s2,
      totalInterFrame: after.s1,
    };
  });
}

const range = (from: number, to: number, step: number): number[] =>
  Array.from({ length: Math.ceil((to - from) / step) }, (_, i) => from + i * step);

/** Frames every 40 ms from 0 to 12 s with nothing in the given spans. */
const framesWithout = (...spans: [number, number][]): number[] =>
  range(0, 12_000, 40).filter((at) => !spans.some(([from, to]) => at > from && at < to));

const everySecond = range(500, 12_000, 1000);

function lengths(steps: VideoStep[]): Map<number, number> {
  const stutters = new VideoStutters();
  const longest = new Map<number, number>();
  for (const step of steps) {
    for (const [start, length] of stutters.update(step)) {
      assert.ok(length >= (longest.get(start) ?? 0), "an episode never becomes shorter");
      longest.set(start, length);
    }
  }
  return longest;
}

test("the bound of the longest gap is exact when the other gaps are equal", () => {
  const gaps = [0.04, 0.04, 0.9, 0.04, 0.04];
  const s1 = gaps.reduce((a, b) => a + b, 0);
  const s2 = gaps.reduce((a, b) => a + b * b, 0);
  assert.ok(Math.abs(longestGap(gaps.length, s1, s2) - 0.9) < 1e-9);
  assert.equal(longestGap(0, 0, 0), 0);
  assert.equal(longestGap(1, 0.7, 0.49), 0.7);
});

test("the bound is never below the longest gap nor above the root of the squares", () => {
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  for (let round = 0; round < 300; round += 1) {
    const gaps = Array.from({ length: 1 + Math.floor(random() * 30) }, () => random() * random());
    const s1 = gaps.reduce((a, b) => a + b, 0);
    const s2 = gaps.reduce((a, b) => a + b * b, 0);
    const bound = longestGap(gaps.length, s1, s2);
    assert.ok(bound >= Math.max(...gaps) - 1e-9);
    assert.ok(bound <= Math.sqrt(s2) + 1e-9);
  }
});

test("without the sums the browser's freezes decide, by their average", () => {
  const step = { from: 0, to: 1000, playing: true, framesDecoded: 9, gaps: 9 };
  assert.equal(stillMs({ ...step, freezes: 1, freezesDuration: 0.7 }), 700);
  assert.equal(stillMs({ ...step, freezes: 2, freezesDuration: 1.0 }), 0);
  assert.equal(stillMs({ ...step, freezes: 0, freezesDuration: 0 }), 0);
  assert.equal(stillMs(step), 0);
});

test("steady frames are no stutter, however slow above the limit", () => {
  assert.equal(lengths(stepsOf(framesWithout(), everySecond)).size, 0);
  assert.equal(lengths(stepsOf(range(0, 12_000, 500), everySecond)).size, 0);
});

test("a gap of 560 ms is none, one of 600 ms is one", () => {
  assert.equal(lengths(stepsOf(framesWithout([4000, 4560]), everySecond)).size, 0);
  const found = [...lengths(stepsOf(framesWithout([4000, 4600]), everySecond)).values()];
  assert.equal(found.length, 1);
  assert.ok(Math.abs(found[0]! - 600) < 1);
});

test("a gap over several polls is one episode that grows, with its true start and length", () => {
  const stutters = new VideoStutters();
  const given: Stutter[][] = stepsOf(framesWithout([4200, 6280]), everySecond).map((step) => stutters.update(step));
  const flat = given.flat();
  assert.equal(new Set(flat.map(([start]) => start)).size, 1);
  const [start, length] = flat.at(-1)!;
  assert.ok(Math.abs(start - 4200) <= 40, `${start}`);
  assert.ok(Math.abs(length - 2080) < 5, `${length}`);
  assert.ok(flat.length >= 2, "it was known before its end");
});

test("every position of a two-second gap is measured as two seconds", () => {
  for (const begin of range(3000, 4000, 80)) {
    const found = [...lengths(stepsOf(framesWithout([begin, begin + 2000]), everySecond))];
    assert.equal(found.length, 1, `at ${begin}`);
    assert.ok(Math.abs(found[0]![1] - 2000) <= 45, `at ${begin}: ${found[0]}`);
    assert.ok(Math.abs(found[0]![0] - begin) <= 45, `at ${begin}: ${found[0]}`);
  }
});

test("two gaps apart are two episodes", () => {
  const found = lengths(stepsOf(framesWithout([2000, 2800], [7000, 8000]), everySecond));
  assert.deepEqual([...found.values()].map((v) => Math.round(v / 10) * 10), [800, 1000]);
});

test("time that was muted or paused is no stutter, and nothing of it is booked afterwards", () => {
  const muted = (from: number) => from >= 4000 && from < 7000;
  assert.equal(lengths(stepsOf(framesWithout([4500, 7500]), everySecond, (from) => !muted(from))).size, 0);
});

test("what stands still after the unmuting counts from there", () => {
  const playing = (from: number) => from < 4500 || from >= 6500;
  const found = [...lengths(stepsOf(framesWithout([4500, 8500]), everySecond, playing))];
  assert.equal(found.length, 1);
  assert.equal(found[0]![0], 6500);
  assert.ok(Math.abs(found[0]![1] - 2000) <= 50, `${found[0]}`);
});

test("an open gap stays counted when the stream comes back with its sums set back", () => {
  const steps = stepsOf(framesWithout([4200, 6280]), everySecond).map((step) =>
    step.from >= 4500 ? { ...step, interFrame: 0.2, interFrameSquared: 0.01, totalInterFrame: 0.2 } : step,
  );
  const found = [...lengths(steps)];
  assert.equal(found.length, 1);
  assert.ok(found[0]![1] >= 1200);
});

const second: AudioStep = {
  from: 0,
  to: 1000,
  playing: true,
  samplesReceived: 48_000,
  samplesDuration: 1,
  concealedSamples: 0,
  silentConcealedSamples: 0,
  concealmentEvents: 0,
};

/** [concealed s, silent s, events] of one second each; the sum of the lengths of all episodes, ms. */
function audioTotal(...seconds: [number, number, number][]): number {
  const stutters = new AudioStutters();
  const longest = new Map<number, number>();
  seconds.forEach(([concealed, silent, events], i) => {
    const step = {
      ...second,
      from: i * 1000,
      to: (i + 1) * 1000,
      concealedSamples: concealed * 48_000,
      silentConcealedSamples: silent * 48_000,
      concealmentEvents: events,
    };
    for (const [start, length] of stutters.update(step)) {
      longest.set(Math.round(start), Math.max(length, longest.get(Math.round(start)) ?? 0));
    }
  });
  return Math.round([...longest.values()].reduce((a, b) => a + b, 0));
}

test("audio: one event within one step", () => {
  assert.equal(audioTotal([0.19, 0, 1], [0, 0, 0]), 0);
  assert.equal(audioTotal([0.2, 0, 1], [0, 0, 0]), 200);
});

test("audio: an event that fades to silence and spans polls counts whole", () => {
  assert.equal(audioTotal([0.4, 0.15, 1], [1, 1, 0], [0.6, 0.6, 0], [0, 0, 0]), 2000);
  assert.equal(audioTotal([0.1, 0, 1], [0.15, 0, 0], [0, 0, 0]), 250);
});

test("audio: an event that began silent does not count", () => {
  assert.equal(audioTotal([0.5, 0.5, 1], [0, 0, 0]), 0);
});

test("audio: several events in a step", () => {
  assert.equal(audioTotal([0.5, 0, 2]), 500);
  assert.equal(audioTotal([0.26, 0, 4]), 200);
  assert.equal(audioTotal([0.25, 0, 4]), 0);
});

test("audio: a second event closes the first", () => {
  assert.equal(audioTotal([0.3, 0, 1], [0.3, 0, 1], [0, 0, 0]), 600);
});

test("audio: muted time breaks an event off", () => {
  const stutters = new AudioStutters();
  stutters.update({ ...second, concealedSamples: 9600, concealmentEvents: 1 });
  assert.deepEqual(stutters.update({ ...second, playing: false, concealedSamples: 48_000 }), []);
  assert.deepEqual(stutters.update({ ...second, concealedSamples: 4800 }), []);
});

test("audio: nothing played out says nothing", () => {
  assert.deepEqual(new AudioStutters().update({ ...second, samplesReceived: 0, samplesDuration: 0 }), []);
});
