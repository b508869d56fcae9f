import assert from "node:assert/strict";
import { test } from "node:test";
import { ReportQueue, type Limits } from "../src/queue.js";
import { byteLength, MAX_REPORT_BYTES, type Report, type Sample } from "../src/report.js";
import { Reporter } from "../src/reporter.js";
import { pageSessions } from "../src/sessions.js";

const LOCAL = 1_700_000_000_000;
const OFFSET = 90_000.4;

function reporting(limits?: Limits): { reporter: Reporter; reports: () => Report[]; given: string[] } {
  const queue = new ReportQueue(undefined, 1, "alice", "session", limits, pageSessions());
  const given: string[] = [];
  const reporter = new Reporter({ sdkAppId: 1, userId: "alice", roomId: "8801" }, queue, (what) => given.push(what));
  reporter.describe({ Role: 20, JoinCostMs: 340, NetworkType: undefined });
  reporter.joined(LOCAL);
  return { reporter, reports: () => queue.all().map(({ body }) => JSON.parse(body) as Report), given };
}

const sample = (start: number, peers = 0): Sample => ({
  StartMs: start,
  DurMs: 2000,
  Local: [],
  Remote: Array.from({ length: peers }, (_, i) => ({ UserId: `user ${i}`, Type: "big", Width: 640, Height: 360 })),
});

test("reports count from 1 and carry times of the server", () => {
  const { reporter, reports } = reporting();
  reporter.addEvent(LOCAL + 5, { EventId: 32788, Type: undefined, ParamOne: undefined, ParamTwo: undefined, PeerId: "bob" });
  assert.ok(reporter.finish(LOCAL + 10, OFFSET));
  assert.ok(!reporter.finish(LOCAL + 20, OFFSET), "nothing to say");
  reporter.addSamples([sample(1)]);
  assert.ok(reporter.finish(LOCAL + 30, OFFSET));
  const [first, second] = reports();
  assert.deepEqual(first, {
    SdkAppId: 1,
    UserId: "alice",
    RoomId: "8801",
    SessionId: "session",
    Seq: 1,
    SentMs: LOCAL + 90_010,
    Client: { JoinMs: LOCAL + 90_000 - 340, Role: 20, JoinCostMs: 340 },
    Samples: [],
    Events: [{ AtMs: LOCAL + 90_005, EventId: 32788, PeerId: "bob" }],
  });
  assert.deepEqual([second!.Seq, second!.Client, second!.Samples], [2, undefined, [sample(1)]]);
});

test("who the user is comes again after a change, and after the report that said it was given up", () => {
  const { reporter, reports, given } = reporting({ reports: 2, characters: 1e6 });
  const clients = () => reports().map(({ Client }) => Client?.Role);
  const send = () => {
    reporter.addSamples([sample(1)]);
    reporter.finish(LOCAL, OFFSET);
  };
  send();
  send();
  assert.deepEqual(clients(), [20, undefined]);
  reporter.describe({ Role: 21 });
  send();
  assert.deepEqual(given, ["report 1"]);
  assert.deepEqual(clients(), [undefined, 21]);
  send();
  assert.deepEqual(clients(), [21, 21]);
});

test("many samples and events make several reports, none too large for a page that goes away", () => {
  const { reporter, reports } = reporting();
  reporter.addSamples(Array.from({ length: 40 }, (_, i) => sample(i, 40)));
  for (let i = 0; i < 900; i += 1) reporter.addEvent(i, { EventId: 32768, Type: 2, ParamOne: i, ParamTwo: i, PeerId: "p".repeat(64) });
  reporter.finish(LOCAL, OFFSET);
  const made = reports();
  assert.deepEqual(made.map(({ Seq }) => Seq), made.map((_, i) => i + 1));
  assert.equal(made.flatMap(({ Samples }) => Samples).length, 40);
  assert.equal(made.flatMap(({ Events }) => Events).length, 900);
  for (const report of made) {
    assert.ok(byteLength(JSON.stringify(report)) <= MAX_REPORT_BYTES + 1000);
    assert.ok(report.Samples.length + report.Events.length <= 1000);
  }
});

test("events wait in bounded number", () => {
  const { reporter, reports, given } = reporting();
  for (let i = 0; i < 1003; i += 1) reporter.addEvent(i, { EventId: i, Type: undefined, ParamOne: undefined, ParamTwo: undefined, PeerId: undefined });
  reporter.finish(LOCAL, OFFSET);
  const events = reports().flatMap(({ Events }) => Events);
  assert.deepEqual([events.length, events[0]!.EventId, events.at(-1)!.EventId], [1000, 3, 1002]);
  assert.deepEqual(given, Array(3).fill("an event"));
});
