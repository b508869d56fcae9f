import assert from "node:assert/strict";
import { test } from "node:test";
import { firstOfEach } from "../src/connections.js";
import { readStats, type Bindings, type Stat } from "../src/stats.js";
import { bindings, recording } from "./recording.js";

const last = recording("receiver").at(-1)!;

test("a recorded report gives one reading per stream and the selected path", () => {
  const { local, remote, paths } = readStats(last.stats, bindings, "1/");
  assert.deepEqual(local.map(({ type }) => type).sort(), ["audio", "big"]);
  assert.deepEqual(remote.map(({ type }) => type).sort(), ["audio", "big"]);
  const big = remote.find(({ type }) => type === "big")!;
  assert.equal(big.userId, "bob");
  assert.equal(`${big.width}x${big.height}`, "320x240");
  assert.equal(big.freezes, 1);
  assert.ok(big.id.startsWith("1/"));
  const sound = local.find(({ type }) => type === "audio")!;
  assert.equal(sound.sampleRate, 48_000);
  assert.equal(sound.width, undefined);
  assert.equal(paths.length, 1);
  assert.ok(paths[0]!.roundTrip! < 1);
});

test("what the browser does not tell is absent, not zero", () => {
  const bare: Stat[] = [{ id: "I", type: "inbound-rtp", timestamp: 5, mid: "1", bytesReceived: 10 }];
  const [reading] = readStats(bare, bindings).remote;
  assert.deepEqual(Object.keys(reading!).sort(), ["at", "bytes", "id", "muted", "playing", "type", "userId"]);
});

test("unknown and inactive streams are left out", () => {
  const nobody: Bindings = { local: () => undefined, remote: () => undefined };
  assert.deepEqual(readStats(last.stats, nobody).remote, []);
  const paused = last.stats.map((stat) => (stat.type === "outbound-rtp" ? { ...stat, active: false } : stat));
  assert.deepEqual(readStats(paused, bindings).local, []);
});

test("simulcast: the largest layer is the big picture, the rest its small twin; names decide where given", () => {
  const layer = (rid: string, frameHeight: number): Stat => ({
    id: rid, type: "outbound-rtp", timestamp: 1, mid: "1", rid, frameHeight, frameWidth: frameHeight * 2, bytesSent: frameHeight,
  });
  const stats = [layer("q", 180), layer("f", 720)];
  const one = { type: "big", muted: false } as const;
  const untold = readStats(stats, { ...bindings, local: () => one }).local;
  assert.deepEqual(untold.map(({ type, height }) => [type, height]), [["big", 720], ["small", 180]]);
  const told = { ...one, rids: { f: "sub", q: "big" } as const };
  const named = readStats(stats, { ...bindings, local: () => told }).local;
  assert.deepEqual(named.map(({ type, height }) => [type, height]), [["sub", 720], ["big", 180]]);
});

test("a receiver report that is old says nothing about loss", () => {
  const source: Stat = { id: "O", type: "outbound-rtp", timestamp: 50_000, mid: "0", remoteId: "R" };
  const loss = (at: number) =>
    readStats([source, { id: "R", type: "remote-inbound-rtp", timestamp: at, fractionLost: 0.25 }], bindings).local[0]!.loss;
  assert.equal(loss(49_000), 25);
  assert.equal(loss(30_000), undefined);
});

test("of two entries for one stream the one heard last is alive", () => {
  const inbound = (id: string, lastPacketReceivedTimestamp: number, bytesReceived: number): Stat => ({
    id, type: "inbound-rtp", timestamp: 9, mid: "1", lastPacketReceivedTimestamp, bytesReceived,
  });
  const { remote } = readStats([inbound("old", 100, 9000), inbound("new", 8000, 10)], bindings);
  assert.deepEqual(remote.map(({ id }) => id), ["new"]);
});

test("without transport entries the nominated pair is the path", () => {
  const pair: Stat = { id: "P", type: "candidate-pair", timestamp: 1, nominated: true, bytesSent: 7 };
  assert.deepEqual(readStats([pair, { ...pair, id: "Q", nominated: false }], bindings).paths, [{ id: "P", sent: 7 }]);
});

test("of two connections the first counts, unless it is silent while the other one is heard", () => {
  const over = (id: string, heard?: number) => ({ id, at: 9000, type: "big", userId: "bob", muted: false, ...(heard && { heard }) }) as const;
  const chosen = (...readings: ReturnType<typeof over>[]) => firstOfEach(readings).map(({ id }) => id);
  assert.deepEqual(chosen(over("1/I", 8900), over("2/I", 8950)), ["1/I"]);
  assert.deepEqual(chosen(over("1/I", 4000), over("2/I", 8950)), ["2/I"]);
  assert.deepEqual(chosen(over("1/I"), over("2/I")), ["1/I"]);
  assert.deepEqual(firstOfEach([over("1/I"), { ...over("2/I"), userId: "carol" }]).length, 2);
});
