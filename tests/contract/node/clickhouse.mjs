// Reads {url, username, password, compression} and prints what the npm package does with the server at that URL.
import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "@clickhouse/client";

const { url, username, password, compression } = JSON.parse(readFileSync(0, "utf8"));
const said = {};

function connect(options = {}) {
  return createClient({ url, username, password, compression: { request: compression, response: compression }, ...options });
}

async function errorOf(work) {
  try {
    await work();
  } catch (error) {
    return { code: error.code, type: error.type };
  }
  return null;
}

const client = connect();
said.ping = (await client.ping({ select: true })).success && (await client.ping()).success;

await client.command({ query: "CREATE TABLE by_node (id UInt64, name String, tags Array(String), at DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY id" });
const inserted = await client.insert({
  table: "by_node",
  format: "JSONEachRow",
  values: [
    { id: "18446744073709551615", name: "größer \t\n '\"", tags: ["a", "b"], at: "2026-01-02 03:04:05.678" },
    { id: "1", name: "", tags: [], at: 0 },
  ],
});
said.written = inserted.summary?.written_rows;
said.insertedId = inserted.query_id === inserted.response_headers["x-clickhouse-query-id"];
const selected = await client.query({
  query: "SELECT * FROM by_node WHERE has(tags, {tag:String}) AND id > {least:UInt64} ORDER BY id",
  query_params: { tag: "b", least: 1 },
  format: "JSON",
  clickhouse_settings: { output_format_json_quote_64bit_integers: 1 },
});
const answer = await selected.json();
said.rows = answer.data;
said.types = answer.meta.map((column) => column.type);

function* lines() {
  for (let number = 0; number < 200000; number++) yield [String(number), `name ${number}`, [], 0];
}
await client.command({ query: "TRUNCATE TABLE by_node" });
await client.insert({ table: "by_node", format: "JSONCompactEachRow", values: Readable.from(lines()) });
let count = 0;
let sum = 0;
const streamed = await client.query({ query: "SELECT id FROM by_node", format: "JSONCompactEachRow" });
for await (const rows of streamed.stream()) {
  for (const row of rows) {
    count += 1;
    sum += Number(row.json()[0]);
  }
}
said.streamed = [count, sum];

const session = connect({ session_id: `node-${compression}` });
await session.command({ query: "CREATE TEMPORARY TABLE mine (n UInt8)" });
await session.insert({ table: "mine", values: [{ n: 7 }], format: "JSONEachRow" });
said.session = await (await session.query({ query: "SELECT n FROM mine", format: "JSONEachRow" })).json();
await session.close();

const settings = { max_block_size: "123", wait_end_of_query: 1 };
const withSettings = await client.query({ query: "SELECT getSetting('max_block_size') AS size", format: "JSONEachRow", clickhouse_settings: settings });
said.settings = await withSettings.json();

said.unknownTable = await errorOf(() => client.query({ query: "SELECT * FROM nowhere" }));
said.syntax = (await errorOf(() => client.command({ query: "SELCT" }))).code;
said.late = await errorOf(async () => {
  const late = await client.query({ query: "SELECT throwIf(number = 3000000) FROM numbers(10000000)", format: "JSONCompactEachRow" });
  for await (const rows of late.stream()) void rows;
});
const stranger = connect({ password: "wrong" });
said.stranger = await errorOf(() => stranger.query({ query: "SELECT 1" }));
await stranger.close();

const controller = new AbortController();
const query_id = `endless-${compression}`;
const endless = client.query({ query: "SELECT count() FROM system.numbers WHERE NOT ignore(number)", query_id, abort_signal: controller.signal });
const running = async () => {
  const processes = await client.query({ query: "SELECT 1 FROM system.processes WHERE query_id = {id:String}", query_params: { id: query_id }, format: "JSONEachRow" });
  return (await processes.json()).length;
};
while (!(await running())) await sleep(50);
controller.abort();
said.aborted = (await errorOf(() => endless)) !== null;
while (await running()) await sleep(50);

await client.command({ query: "DROP TABLE by_node SYNC" });
await client.close();
console.log(JSON.stringify(said));
