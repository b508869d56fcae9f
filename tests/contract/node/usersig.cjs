// Reads {sdkAppId, key, now, calls: [[method, ...arguments], …]} and prints what the package returns for each call.
// `now` (Unix seconds) stops the clock; without it the clock goes on.
const { readFileSync } = require("node:fs");
const { Api } = require("tls-sig-api-v2");

const { sdkAppId, key, now, calls } = JSON.parse(readFileSync(0, "utf8"));
if (now !== undefined) Date.now = () => now * 1000;
const api = new Api(sdkAppId, key);
console.log(JSON.stringify(calls.map(([method, ...values]) => api[method](...values))));
