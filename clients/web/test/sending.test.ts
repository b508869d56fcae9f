import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { clockJumped, estimateOffset } from "../src/clock.js";
import { browserOf, systemOf, terminalTypeOf } from "../src/device.js";
import { ReportQueue, type Pending, type Store } from "../src/queue.js";
import { byteLength, divideSamples, type Sample } from "../src/report.js";
import { retryAfterMs, Sender, verdictOf, waitMs, withUserSig, type Answer } from "../src/sender.js";
import { VERSION } from "../src/version.js";

class MemoryStore implements Store {
  private readonly items = new Map<string, string>();
  get length(): number {
    return this.items.size;
  }
  getItem = (key: string): string | null => this.items.get(key) ?? null;
  setItem = (key: string, value: string): void => void this.items.set(key, value);
  removeItem = (key: string): void => void this.items.delete(key);
  key = (index: number): string | null => [...this.items.keys()][index] ?? null;
}

const entry = (seq: number, sessionId = "s"): Pending => ({ sessionId, seq, body: `{"Seq":${seq}}` });

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

test("the queue is first in first out and gives up the oldest beyond its limit", () => {
  const queue = new ReportQueue(undefined, 1, "u", "s", 2);
  assert.deepEqual(queue.push(entry(1)), []);
  queue.push(entry(2));
  assert.deepEqual(queue.push(entry(3)).map(({ seq }) => seq), [1]);
  assert.equal(queue.first()!.seq, 2);
  queue.remove(entry(2));
  assert.deepEqual(queue.all().map(({ seq }) => seq), [3]);
});

test("what a session left behind is taken over by the next one of the same user only", () => {
  const store = new MemoryStore();
  const first = new ReportQueue(store, 1, "u", "first");
  first.push(entry(1, "first"));
  assert.equal(new ReportQueue(store, 1, "u", "meanwhile").length, 0, "the first session goes on");
  first.release();
  assert.equal(new ReportQueue(store, 1, "v", "other user").length, 0);
  assert.equal(new ReportQueue(store, 2, "u", "other application").length, 0);
  const next = new ReportQueue(store, 1, "u", "second");
  assert.deepEqual(next.all(), [entry(1, "first")]);
  assert.equal(store.getItem("roompulse:1:u:first"), null);
  next.remove(entry(1, "first"));
  assert.equal(store.length, 0);
});

test("spoiled storage is no harm", () => {
  const store = new MemoryStore();
  store.setItem("roompulse:1:u:x", "{nonsense");
  store.setItem("roompulse:1:u:y", '[{"seq":1},null,5]');
  assert.equal(new ReportQueue(store, 1, "u", "s").length, 0);
  const full: Store = { ...new MemoryStore(), length: 0, key: () => null, setItem: () => { throw new Error("full"); } } as Store;
  const queue = new ReportQueue(full, 1, "u", "t");
  queue.push(entry(1));
  assert.equal(queue.length, 1);
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

test("samples are divided so that every report fits", () => {
  const sample = (i: number): Sample => ({ StartMs: i, DurMs: 1, Local: [], Remote: [] });
  const samples = Array.from({ length: 10 }, (_, i) => sample(i));
  const size = byteLength(JSON.stringify(samples[0])) + 1;
  const parts = divideSamples(samples, size * 3);
  assert.deepEqual(parts.map((part) => part.length), [3, 3, 3, 1]);
  assert.deepEqual(parts.flat(), samples);
  assert.deepEqual(divideSamples(samples.slice(0, 2), 5).map((part) => part.length), [1, 1]);
  assert.deepEqual(divideSamples([]), [[]]);
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
  const sender = new Sender("http://ingest.test/v1/reports", queue, "sig-1", (answer) => seen.push(answer));
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

const reply = (status: number, headers: Record<string, string> = {}): Response => new Response("{}", { status, headers });

test("a report is sent again with the same bytes until it is safe", async () => {
  const queue = new ReportQueue(undefined, 1, "u", "a");
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
  assert.equal(bodies[0], '{"UserSig":"sig-1","Seq":1}');
  assert.deepEqual(bodies.slice(0, 3), Array(3).fill(bodies[0]));
  assert.equal(bodies[3], withUserSig('{"Seq":2}', "sig-1"));
});

test("a refused report is dropped and the next one goes out", async () => {
  const queue = new ReportQueue(undefined, 1, "u", "b");
  queue.push(entry(1, "b"));
  queue.push(entry(2, "b"));
  const { seen } = await sending([reply(422), reply(200)], queue, async (sender) => {
    sender.kick();
    await until(() => queue.length === 0);
  });
  assert.deepEqual(seen.map(({ verdict, entry: { seq } }) => [verdict, seq]), [["refused", 1], ["accepted", 2]]);
});

test("after 401 nothing is sent until there is a new UserSig; the report is not lost", async () => {
  const queue = new ReportQueue(undefined, 1, "u", "c");
  queue.push(entry(1, "c"));
  const { bodies } = await sending([reply(401), reply(200)], queue, async (sender, seen) => {
    sender.kick();
    await until(() => seen.length === 1);
    sender.kick();
    sender.flush();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(queue.length, 1);
    sender.setUserSig("sig-2");
    await until(() => queue.length === 0);
  });
  assert.deepEqual(bodies, ['{"UserSig":"sig-1","Seq":1}', '{"UserSig":"sig-2","Seq":1}']);
});

test("after 403 the queue is empty and stays silent", async () => {
  const queue = new ReportQueue(undefined, 1, "u", "d");
  queue.push(entry(1, "d"));
  queue.push(entry(2, "d"));
  const { bodies } = await sending([reply(403), reply(200)], queue, async (sender, seen) => {
    sender.kick();
    await until(() => seen.length === 1);
    sender.setUserSig("sig-2");
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(sender.stopped);
  });
  assert.equal(bodies.length, 1);
  assert.equal(queue.length, 0);
});

test("flushing hands over the newest that fit, and keeps what is not confirmed", async () => {
  const queue = new ReportQueue(undefined, 1, "u", "e");
  for (const seq of [1, 2, 3]) queue.push({ ...entry(seq, "e"), body: `{"Seq":${seq},"Pad":"${"x".repeat(25_000)}"}` });
  const { bodies } = await sending([reply(200), reply(503)], queue, async (sender, seen) => {
    sender.flush();
    sender.flush();
    await until(() => seen.length === 2);
  });
  assert.deepEqual(bodies.map((body) => /"Seq":(\d)/.exec(body)![1]), ["3", "2"]);
  assert.deepEqual(queue.all().map(({ seq }) => seq), [1, 2]);
});
