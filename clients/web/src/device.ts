/** What the browser says about itself, in the words of the `Client` part of a report. */

import type { ClientPart } from "./report.js";
import { given } from "./stats.js";

const WINDOWS = 1;
const ANDROID = 2;
const IOS = 3;
const LINUX = 4;
const OTHER = 100;
const USER_TYPE_WEBRTC = 1;

/** The terminal type of a user agent; macOS has none of its own. */
export function terminalTypeOf(userAgent: string): number {
  if (/Android/.test(userAgent)) return ANDROID;
  if (/iPhone|iPad|iPod/.test(userAgent)) return IOS;
  if (/Windows/.test(userAgent)) return WINDOWS;
  return /Linux|X11|CrOS/.test(userAgent) ? LINUX : OTHER;
}

/** Browser and major version, such as `Chrome 120`. */
export function browserOf(userAgent: string): string {
  const names: [string, RegExp][] = [
    ["Edge", /Edg(?:e|A|iOS)?\/(\d+)/],
    ["Opera", /OPR\/(\d+)/],
    ["Firefox", /(?:Firefox|FxiOS)\/(\d+)/],
    ["Chrome", /(?:HeadlessChrome|Chrome|CriOS)\/(\d+)/],
    ["Safari", /Version\/(\d+)[\d.]* .*Safari/],
  ];
  for (const [name, pattern] of names) {
    const version = pattern.exec(userAgent)?.[1];
    if (version !== undefined) return `${name} ${version}`;
  }
  return "unknown";
}

/** The first parenthesis of a user agent without what follows the system, such as `Windows NT 10.0`. */
export function systemOf(userAgent: string): string {
  const parts = (/\(([^)]*)\)/.exec(userAgent)?.[1] ?? "").split(";").map((part) => part.trim());
  const named = parts.find((part) => /Windows|Android|OS X|OS \d|Linux|CrOS/.test(part)) ?? parts[0] ?? "";
  return named.slice(0, 256);
}

/** Type of the network, where the browser tells; `effectiveType` is a speed and no type. */
export function networkType(): string | undefined {
  return (navigator as Navigator & { connection?: { type?: string } }).connection?.type;
}

/** The device's share of the `Client` part. */
export function describeDevice(version: string): ClientPart {
  const agent = navigator.userAgent;
  return given({
    TerminalType: terminalTypeOf(agent),
    UserType: USER_TYPE_WEBRTC,
    SdkType: "webrtc",
    SdkVersion: version,
    DeviceModel: browserOf(agent),
    Os: systemOf(agent),
    NetworkType: networkType(),
  });
}

/** MB of the page's script heap, where the browser tells. */
export function memoryMb(): number | undefined {
  const memory = (performance as Performance & { memory?: { usedJSHeapSize?: number } }).memory;
  return memory?.usedJSHeapSize === undefined ? undefined : memory.usedJSHeapSize / 1e6;
}
