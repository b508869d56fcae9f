import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { clockJumped, estimateOffset } from "../src/clock.js";
import { browserOf, systemOf, terminalTypeOf } from "../src/device.js";
import { MAX_AGE_MS, ReportQueue, type Limits, type Pending, type Store } from "../src/queue.js";
import { byteLength, divide, type ClientEvent, type Sample } from "../src/report.js";
import { retryAfterMs, Sender, verdictOf, waitMs, withCredentials, type Answer, type Credentials } from "../src/sender.js";
import { lockedSessions, pageSessions, type Sessions } from "../src/sessions.js";
import { VERSION } from "../src/version.js";

const NOW = 1_800_000_000_000;

class MemoryStore implements Store {
  private readonly items = new Map<string, string>();
  get length(): number {
    return this.items.size;
  }
  getItem = (key: string): string | null => this.items.get(key) ?? null;
  setItem = (key: string, value: string): void => void this.items.set(key, value);
  removeItem = (key: string): void => void this.items.delete(key);
  key = (index: number): string | null => [...this.items.keys()][index] ?? null;
  keys = (): string[] => [...this.items.keys()].sort();
}

const entry = (seq: number, sessionId = "s", more: object = {}): Pending => {
  const report = { Seq: seq, SessionId: sessionId, RoomId: 8801, SentMs: NOW + seq, ...more };
  const { RoomId: roomId, SentMs: sentMs } = report;
  return { sessionId, seq, roomId, sentMs, body: JSON.stringify(report) };
};

/** A queue whose sessions are this test's own. */
const queueOf = (sessionId: string, store?: Store, limits?: Limits, sessions: Sessions = pageSessions()): ReportQueue =>
  new ReportQueue(store, 1, "u", sessionId, limits, sessions);

test("the version is the package's", () => {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };
  assert.equal(VERSION, manifest.version);
});

test("the offset is the server's time plus half the shortest round trip", () => {
  const slow = { askedAt: 1000, answeredAt: 1400, serverMs: 9999 };
  const quick = { askedAt: 2000, answeredAt: 2020, serverMs: 5010 };
  assert.equal(estimateOffset([slow, quick]), 3000);
  assert.equal(estimateOffset([quick, slow]), 3000);
});

test("a clock that stood still is noticed", () => {
  assert.ok(!clockJumped(100, 900));
  assert.ok(clockJumped(0, 30_000));
  assert.ok(clockJumped(0, -30_000));
});

test("the queue is first in first out and gives up the oldest beyond its limits", () => {
  const store = new MemoryStore();
  const queue = queueOf("s", store, { reports: 2, characters: 1000 });
  assert.deepEqual(queue.push(entry(1)), []);
  queue.push(entry(2));
  assert.deepEqual(queue.push(entry(3)).map(({ seq }) => seq), [1]);
  assert.equal(queue.first()!.seq, 2);
  queue.remove(entry(2));
  assert.deepEqual(queue.all().map(({ seq }) => seq), [3]);
  const large = { Pad: "x".repeat(900) };
  assert.deepEqual(queue.push(entry(4, "s", large)).map(({ seq }) => seq), [3]);
  assert.deepEqual(queue.push(entry(5, "s", { Pad: "x".repeat(2000) })).map(({ seq }) => seq), [4], "the newest stays");
  assert.deepEqual(store.keys(), ["roompulse:1:u:s:5"], "storage has what the queue has");
});

test("what a session left behind is taken over by the next one of the same user only", async () => {
  const store = new MemoryStore();
  const sessions = pageSessions();
  const next = (sessionId: string, app = 1, user = "u") => new ReportQueue(store, app, user, sessionId, undefined, sessions);
  const first = next("first");
  first.push(entry(2, "first"));
  first.push(entry(10, "first"));
  const adopted = async (queue: ReportQueue) => {
    await queue.adopt(NOW + 5000);
    return queue.all();
  };
  assert.deepEqual(await adopted(next("meanwhile")), [], "the first session goes on");
  first.release();
  assert.deepEqual(await adopted(next("of another user", 1, "v")), []);
  assert.deepEqual(await adopted(next("of a user whose name begins alike", 1, "u:first")), []);
  assert.deepEqual(await adopted(next("of another application", 2)), []);
  const second = next("second");
  second.push(entry(1, "second", { SentMs: NOW + 4000 }));
  assert.deepEqual(await adopted(second), [entry(2, "first"), entry(10, "first"), entry(1, "second", { SentMs: NOW + 4000 })]);
  assert.equal((await adopted(second)).length, 3, "nothing is taken over twice");
  for (const report of [...second.all()]) second.remove(report);
  assert.deepEqual(store.keys(), []);
});

test("after a day nothing is left, of nobody", async () => {
  const store = new MemoryStore();
  for (const user of ["u", "v"]) {
    const queue = new ReportQueue(store, 1, user, `old ${user}`, undefined, pageSessions());
    queue.push(entry(1, `old ${user}`));
    queue.push(entry(2, `old ${user}`, { SentMs: NOW + 3_600_000 }));
  }
  const queue = queueOf("new", store);
  await queue.adopt(NOW + MAX_AGE_MS + 1000);
  assert.deepEqual(queue.all().map(({ sessionId, seq }) => [sessionId, seq]), [["old u", 2]]);
  assert.deepEqual(store.keys(), ["roompulse:1:u:old u:2", "roompulse:1:v:old v:2"]);
});

test("spoiled storage is no harm", async () => {
  const store = new MemoryStore();
  store.setItem("roompulse:1:u:x:1", "{nonsense");
  store.setItem("roompulse:1:u:y:1", '[{"Seq":1},null,5]');
  store.setItem("roompulse:1:u:z:1", JSON.stringify({ ...JSON.parse(entry(1).body), SessionId: "somebody else's" }));
  store.setItem("another's", "kept");
  const queue = queueOf("s", store);
  await queue.adopt(NOW);
  assert.equal(queue.length, 0);
  assert.equal(store.getItem("another's"), "kept");
  const refuse = (): never => {
    throw new Error("forbidden");
  };
  const forbidden: Store = { length: 1, key: refuse, getItem: refuse, setItem: refuse, removeItem: refuse };
  const other = queueOf("t", forbidden);
  other.push(entry(1, "t"));
  await other.adopt(NOW);
  assert.equal(other.length, 1);
  other.remove(entry(1, "t"));
  assert.equal(other.length, 0);
});

test("locks tell of the sessions of all tabs", async () => {
  const held: string[] = [];
  const locks = {
    query: async () => ({ held: [...held, "the application's own"].map((name) => ({ name })), pending: [{ name: "roompulse:soon" }] }),
    request: (name: string, body: () => Promise<void>) => {
      held.push(name);
      return body().then(() => held.splice(held.indexOf(name), 1));
    },
  } as unknown as LockManager;
  const sessions = lockedSessions(locks);
  const release = sessions.hold("a");
  sessions.hold("b");
  assert.deepEqual(await sessions.alive(), new Set(["a", "b", "soon"]));
  release();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(await sessions.alive(), new Set(["b", "soon"]));
});

test("what statuses mean", () => {
  const meanings = [200, 400, 413, 415, 422, 401, 403, 429, 503, 500, 502, 404].map(verdictOf);
  assert.deepEqual(meanings, [
    "accepted", "refused", "refused", "refused", "refused", "unauthorized", "forbidden", "again", "again", "again", "again", "again",
  ]);
});

test("Retry-After is seconds or a date", () => {
  assert.equal(retryAfterMs("3", 0), 3000);
  assert.equal(retryAfterMs("Thu, 01 Jan 1970 00:00:10 GMT", 4000), 6000);
  assert.equal(retryAfterMs(null, 0), undefined);
  assert.equal(retryAfterMs("soon", 0), undefined);
});

test("waits double up to a minute, and never end before what the server asked for", () => {
  assert.deepEqual([1, 2, 3, 30].map((failures) => waitMs(failures, null, 0, () => 1)), [1000, 2000, 4000, 60_000]);
  assert.ok(waitMs(1, null, 0, () => 0) >= 500);
  assert.ok(waitMs(1, "7", 0, () => 0) >= 7000);
});

test("samples and events are divided so that every report fits", () => {
  const sample = (i: number): Sample => ({ StartMs: i, DurMs: 1, Local: [], Remote: [] });
  const samples = Array.from({ length: 10 }, (_, i) => sample(i));
  const size = byteLength(JSON.stringify(samples[0])) + 1;
  const parts = divide(samples, [], size * 3).map(({ Samples }) => Samples);
  assert.deepEqual(parts.map((part) => part.length), [3, 3, 3, 1]);
  assert.deepEqual(parts.flat(), samples);
  assert.deepEqual(divide(samples.slice(0, 2), [], 5).map(({ Samples }) => Samples.length), [1, 1]);
  assert.deepEqual(divide([], []), [{ Samples: [], Events: [] }]);
  const events: ClientEvent[] = Array.from({ length: 20 }, (_, i) => ({ AtMs: i, EventId: 32768, PeerId: "é".repeat(30) }));
  const both = divide(samples, events, 500);
  assert.deepEqual(both.flatMap(({ Samples }) => Samples), samples);
  assert.deepEqual(both.flatMap(({ Events }) => Events), events);
  for (const part of both) assert.ok(byteLength(JSON.stringify(part)) <= 500 + 30);
});

test("user agents", () => {
  const chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
  const safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
  const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
  const android = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36";
  const mac = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15";
  assert.deepEqual([chrome, safari, firefox, android, mac].map(terminalTypeOf), [1, 3, 4, 2, 100]);
  assert.deepEqual([chrome, safari, firefox, android, mac].map(browserOf), ["Chrome 126", "Safari 17", "Firefox 128", "Chrome 126", "Safari 17"]);
  assert.equal(systemOf(chrome), "Windows NT 10.0");
  assert.equal(systemOf(android), "Linux");
});

const FIRST: Credentials = { userSig: "sig-1", roomId: 8801 };
const SECOND: Credentials = { userSig: "sig-2", roomId: 8801 };

/** Runs a sender against answers given one after another and gives what it sent. */
async function sending(
  answers: (Response | Error)[],
  queue: ReportQueue,
  act: (sender: Sender, seen: Answer[]) => Promise<void>,
): Promise<{ bodies: string[]; seen: Answer[] }> {
  const bodies: string[] = [];
  const seen: Answer[] = [];
  const real = globalThis.fetch;
  globalThis.fetch = (async (_url: unknown, init: RequestInit) => {
    bodies.push(String(init.body));
    const answer = answers.shift();
    if (answer === undefined) throw new TypeError("no more answers");
    if (answer instanceof Error) throw answer;
    return answer;
  }) as typeof fetch;
  const sender = new Sender("http://ingest.test/v1/reports", queue, FIRST, (answer) => seen.push(answer));
  try {
    await act(sender, seen);
  } finally {
    sender.stop();
    globalThis.fetch = real;
  }
  return { bodies, seen };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const reply = (status: number, headers: Record<string, string> = {}, body: object = {}): Response =>
  new Response(JSON.stringify(body), { status, headers });

test("a report is sent again with the same bytes until it is safe", async () => {
  const queue = queueOf("a");
  queue.push(entry(1, "a"));
  queue.push(entry(2, "a"));
  const { bodies, seen } = await sending(
    [new TypeError("offline"), reply(503, { "Retry-After": "0" }), reply(200), reply(200)],
    queue,
    async (sender) => {
      sender.kick();
      await until(() => queue.length === 0);
    },
  );
  assert.deepEqual(seen.map(({ verdict }) => verdict), ["again", "again", "accepted", "accepted"]);
  assert.equal(bodies[0], `{"UserSig":"sig-1",${entry(1, "a").body.slice(1)}`);
  assert.deepEqual(bodies.slice(0, 3), Array(3).fill(bodies[0]));
  assert.equal(bodies[3], withCredentials(entry(2, "a"), FIRST));
});

test("a refused report is dropped and the next one goes out", async () => {
  const queue = queueOf("b");
  queue.push(entry(1, "b"));
  queue.push(entry(2, "b"));
  const { seen } = await sending([reply(422), reply(200)], queue, async (sender) => {
    sender.kick();
    await until(() => queue.length === 0);
  });
  assert.deepEqual(seen.map(({ verdict, entry: { seq } }) => [verdict, seq]), [["refused", 1], ["accepted", 2]]);
});

test("after 401 nothing is sent until there is a new UserSig; the report is not lost", async () => {
  const queue = queueOf("c");
  queue.push(entry(1, "c"));
  const { bodies } = await sending([reply(401), reply(200)], queue, async (sender, seen) => {
    sender.kick();
    await until(() => seen.length === 1);
    sender.kick();
    sender.flush();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(queue.length, 1);
    sender.setCredentials(SECOND);
    await until(() => queue.length === 0);
  });
  assert.deepEqual(bodies, [withCredentials(entry(1, "c"), FIRST), withCredentials(entry(1, "c"), SECOND)]);
});

test("a 401 for credentials that have been replaced meanwhile stops nothing", async () => {
  const queue = queueOf("f");
  queue.push(entry(1, "f"));
  const { bodies } = await sending([reply(401), reply(200)], queue, async (sender) => {
    sender.kick();
    sender.setCredentials(SECOND);
    await until(() => queue.length === 0);
  });
  assert.deepEqual(bodies, [withCredentials(entry(1, "f"), FIRST), withCredentials(entry(1, "f"), SECOND)]);
});

test("a privateMapKey goes with the reports of its room only, and one that is lost blocks nothing", async () => {
  const key: Credentials = { ...FIRST, privateMapKey: "key" };
  assert.equal(JSON.parse(withCredentials(entry(1), key)).PrivateMapKey, "key");
  assert.equal(JSON.parse(withCredentials(entry(1, "s", { RoomId: "8801" }), key)).PrivateMapKey, undefined);
  const missing = { Error: { Code: "base64 error", Reason: "PrivateMapKey is missing", Field: "PrivateMapKey" } };
  const queue = queueOf("g");
  queue.push(entry(1, "earlier", { RoomId: "another" }));
  queue.push(entry(1, "g"));
  const { seen } = await sending([reply(401, {}, missing), reply(401, {}, missing)], queue, async (sender, answers) => {
    sender.setCredentials(key);
    await until(() => answers.length === 2);
  });
  assert.deepEqual(seen.map(({ verdict }) => verdict), ["refused", "unauthorized"]);
  assert.deepEqual(queue.all(), [entry(1, "g")]);
});

test("after 403 the queue is empty and stays silent", async () => {
  const queue = queueOf("d");
  queue.push(entry(1, "d"));
  queue.push(entry(2, "d"));
  const { bodies } = await sending([reply(403), reply(200)], queue, async (sender, seen) => {
    sender.kick();
    await until(() => seen.length === 1);
    sender.setCredentials(SECOND);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(sender.stopped);
  });
  assert.equal(bodies.length, 1);
  assert.equal(queue.length, 0);
});

test("flushing hands over the newest that fit, and keeps what is not confirmed", async () => {
  const queue = queueOf("e");
  for (const seq of [1, 2, 3]) queue.push(entry(seq, "e", { Pad: "x".repeat(25_000) }));
  const { bodies } = await sending([reply(200), reply(503)], queue, async (sender, seen) => {
    sender.flush();
    sender.flush();
    await until(() => seen.length === 2);
  });
  assert.deepEqual(bodies.map((body) => /"Seq":(\d)/.exec(body)![1]), ["3", "2"]);
  assert.deepEqual(queue.all().map(({ seq }) => seq), [1, 2]);
});
