import assert from "node:assert/strict";
import { test } from "node:test";
import type { Sample, StreamType } from "../src/report.js";
import { volumeOf } from "../src/arithmetic.js";
import { GRID_MS, Sampler } from "../src/samples.js";
import type { LocalReading, RemoteReading, Snapshot } from "../src/stats.js";
import { bindings, recording, snapshots } from "./recording.js";

const T0 = 1_800_000_000_000;

function samplesOf(snaps: Snapshot[]): Sample[] {
  const sampler = new Sampler();
  return [...snaps.flatMap((snapshot) => sampler.add(snapshot)), ...sampler.cut()];
}

/** The longest length of each episode, by its start. */
function episodes(samples: Sample[], type: StreamType): Map<number, number> {
  const longest = new Map<number, number>();
  for (const stream of samples.flatMap((sample) => sample.Remote)) {
    if (stream.Type !== type) continue;
    for (const [start, length] of stream.Stutters ?? []) longest.set(start, Math.max(length, longest.get(start) ?? 0));
  }
  return longest;
}

function assertTiling(samples: Sample[]): void {
  samples.forEach((sample, i) => {
    assert.ok(sample.DurMs >= 1 && sample.DurMs <= GRID_MS);
    const cell = Math.floor(sample.StartMs / GRID_MS);
    assert.equal(Math.floor((sample.StartMs + sample.DurMs - 1) / GRID_MS), cell, "a sample lies in one cell of the grid");
    if (i > 0) assert.equal(sample.StartMs, samples[i - 1]!.StartMs + samples[i - 1]!.DurMs, "samples leave no gap");
  });
}

for (const shift of [0, 137, 500, 999, 1400]) {
  test(`a recorded call with a pause of two seconds, polled ${shift} ms off the grid`, () => {
    const samples = samplesOf(snapshots(recording("receiver"), T0 + shift));
    assertTiling(samples);
    for (const type of ["big", "audio"] as const) {
      const found = [...episodes(samples, type).values()];
      assert.equal(found.length, 1, `${type}: ${found}`);
      assert.ok(Math.abs(found[0]! - 2000) <= 100, `${type}: ${found}`);
    }
    const play = samples.flatMap(({ Remote }) => Remote).filter(({ Type }) => Type === "big");
    assert.equal(play.reduce((sum, { PlayMs }) => sum + PlayMs!, 0), samples.reduce((sum, { DurMs }) => sum + DurMs, 0));
    const steady = samples[0]!.Remote.find(({ Type }) => Type === "big")!;
    assert.equal(`${steady.Width}x${steady.Height}`, "320x240");
    assert.ok(Math.abs(steady.DecFps! - 15) < 1 && steady.Bitrate! > 10_000 && steady.Loss === 0);
    assert.ok(samples.every(({ Rtt }) => Rtt !== undefined && Rtt < 100));
  });
}

test("the same call without its pause has no stutter", () => {
  const polls = recording("receiver").slice(0, 6);
  const samples = samplesOf(snapshots(polls, T0));
  assert.deepEqual([...episodes(samples, "big"), ...episodes(samples, "audio")], []);
});

test("the sender of the recorded call: rates, loudness, and the pause as an end and a start of its streams", () => {
  const samples = samplesOf(snapshots(recording("sender"), T0));
  assertTiling(samples);
  const big = samples[0]!.Local.find(({ Type }) => Type === "big")!;
  assert.ok(Math.abs(big.SendFps! - 15) < 1 && Math.abs(big.CapFps! - 15) < 1 && big.Bitrate! > 10_000);
  const sound = samples[0]!.Local.find(({ Type }) => Type === "audio")!;
  assert.equal(sound.SampleRate, 48_000);
  assert.ok(sound.Volume! > 40 && sound.Volume! <= 100);
  assert.ok(samples.some(({ Local }) => Local.length === 0));
  assert.ok(samples.at(-1)!.Local.length === 2);
});

test("muted streams neither play nor stutter", () => {
  const quiet = { ...bindings, remote: (mid: string | undefined) => ({ ...bindings.remote(mid, undefined)!, playing: false, muted: true }) };
  const samples = samplesOf(snapshots(recording("receiver"), T0, quiet));
  const streams = samples.flatMap(({ Remote }) => Remote);
  assert.ok(streams.length > 0 && streams.every(({ PlayMs, Muted, Stutters }) => PlayMs === 0 && Muted && !Stutters));
});

const local = (bytes: number, more: Partial<LocalReading> = {}): LocalReading => ({
  id: "O", at: 0, type: "big", muted: false, bytes, width: 640, height: 360, ...more,
});
const at = (ms: number, readings: Partial<Snapshot> = {}, scheduled = true): Snapshot => ({
  at: T0 + ms, scheduled, local: [], remote: [], paths: [], ...readings,
});

test("a user without any stream still has samples", () => {
  const samples = samplesOf([at(0), at(1001), at(2003), at(3002), at(4004)]);
  assert.deepEqual(samples.map(({ StartMs, DurMs }) => [StartMs - T0, DurMs]), [[0, 2000], [2000, 2000]]);
});

test("polls a little late speak for their full second; a very late one is divided by time", () => {
  const sent = (ms: number, bytes: number) => at(ms, { local: [local(bytes, { at: ms })] });
  const samples = samplesOf([sent(0, 0), sent(1040, 1040), sent(2030, 2030), sent(5000, 5000), sent(6000, 6000)]);
  assert.deepEqual(samples.map(({ StartMs, DurMs }) => [StartMs - T0, DurMs]), [[0, 2000], [2000, 2000], [4000, 2000]]);
  assert.deepEqual(samples.map(({ Local }) => Local[0]!.Bitrate), [8000, 8000, 8000]);
});

test("a change of size, a start and a stop cut the sample", () => {
  const samples = samplesOf([
    at(0, { local: [local(0)] }),
    at(700, { local: [local(1, { width: 320, height: 180 })] }, false),
    at(1300, { local: [] }, false),
    at(1500, { local: [local(9, { id: "P" })] }, false),
    at(2000, { local: [local(10, { id: "P" })] }),
  ]);
  assert.deepEqual(samples.map(({ StartMs, DurMs }) => [StartMs - T0, DurMs]), [[0, 700], [700, 600], [1300, 200], [1500, 500]]);
  assert.deepEqual(samples.map(({ Local }) => Local.map(({ Width }) => Width)), [[640], [320], [], [640]]);
});

test("counters that were set back are no measurement", () => {
  const samples = samplesOf([at(0, { local: [local(900, { at: 0 })] }), at(2000, { local: [local(100, { at: 2000 })] })]);
  assert.equal(samples[0]!.Local[0]!.Bitrate, undefined);
});

test("nothing is said about a long silence of the page itself", () => {
  const samples = samplesOf([at(0), at(1000), at(500_000), at(502_000)]);
  assert.deepEqual(samples.map(({ StartMs, DurMs }) => [StartMs - T0, DurMs]), [[0, 1000], [500_000, 2000]]);
});

test("a picture plays from its first frame on", () => {
  const remote = (framesDecoded: number): RemoteReading => ({
    id: "I", at: 0, type: "big", userId: "bob", muted: false, playing: true, framesDecoded,
  });
  const samples = samplesOf([0, 0, 20, 40].map((frames, i) => at(i * 1000, { remote: [remote(frames)] })));
  assert.deepEqual(samples.flatMap(({ Remote }) => Remote.map(({ PlayMs }) => PlayMs)), [0, 1000]);
});

test("a screen that stands still is no stutter, one that the browser calls frozen is", () => {
  const remote = (framesDecoded: number, freezes: number): RemoteReading => ({
    id: "I", at: 0, type: "sub", userId: "bob", muted: false, playing: true, framesDecoded,
    interFrame: framesDecoded, interFrameSquared: framesDecoded, freezes, freezesDuration: freezes * 1.5,
  });
  const samples = (freezes: number[]) =>
    samplesOf([1, 2, 2, 2, 4].map((frames, i) => at(i * 1000, { remote: [remote(frames, freezes[i]!)] })));
  assert.equal(episodes(samples([0, 0, 0, 0, 0]), "sub").size, 0);
  assert.deepEqual([...episodes(samples([0, 0, 0, 0, 1]), "sub").values()], [1500]);
});

test("a cut ends the sample at the last poll and the next one follows it", () => {
  const sampler = new Sampler();
  sampler.add(at(0));
  sampler.add(at(1000));
  const [tail] = sampler.cut();
  assert.deepEqual([tail!.StartMs - T0, tail!.DurMs], [0, 1000]);
  assert.deepEqual(sampler.cut(), []);
  assert.deepEqual(sampler.add(at(2000)).map(({ StartMs, DurMs }) => [StartMs - T0, DurMs]), [[1000, 1000]]);
});

test("loudness", () => {
  assert.equal(volumeOf(0), 0);
  assert.equal(volumeOf(1), 100);
  assert.equal(volumeOf(0.01), 80);
  assert.equal(volumeOf(1e-12), 0);
});
