/** The value axis of a chart: from 0 to a round number above everything, in round steps. */
export interface Scale {
  max: number;
  interval: number;
}

const STEPS = 4;

/** `whole` for numbers that have no fractions. */
export function scaleFor(highest: number, whole: boolean): Scale {
  const rough = Math.max(highest, Number.MIN_VALUE) / STEPS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const round = ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
  const interval = whole ? Math.max(1, Math.ceil(round)) : round;
  return { interval, max: Math.ceil(highest / interval) * interval };
}
