/** How numbers are shown; `decimals` are at most so many for counts and seconds, and exactly so many for percentages. */
export interface NumberStyle {
  style: "count" | "percent" | "seconds" | "per_minute";
  decimals: number;
  grouping: boolean;
}

export type NumberText = (value: number) => string;

/** Numbers as people of this language write them: `1,234`, `97.5%`, `2m 5s`. */
export function numberText(locale: string, { style, decimals, grouping }: NumberStyle): NumberText {
  const useGrouping = grouping ? ("auto" as const) : false;
  const most = { maximumFractionDigits: decimals, useGrouping };
  if (style === "percent") {
    const { format } = new Intl.NumberFormat(locale, {
      ...{ style: "percent", minimumFractionDigits: decimals, maximumFractionDigits: decimals, useGrouping },
    });
    return (value) => format(value);
  }
  if (style === "seconds") return durationText(locale, most);
  const { format } = new Intl.NumberFormat(locale, most);
  return style === "per_minute" ? (value) => `${format(value)}/min` : (value) => format(value);
}

function durationText(locale: string, options: Intl.NumberFormatOptions): NumberText {
  const unit = (name: string, more: Intl.NumberFormatOptions) =>
    new Intl.NumberFormat(locale, { style: "unit", unit: name, unitDisplay: "narrow", ...more });
  const seconds = unit("second", options);
  const [days, hours, minutes, whole] = ["day", "hour", "minute", "second"].map((name) =>
    unit(name, { maximumFractionDigits: 0 }),
  );
  const both = (large: Intl.NumberFormat, a: number, small: Intl.NumberFormat, b: number) =>
    b === 0 ? large.format(a) : `${large.format(a)} ${small.format(b)}`;
  return (value) => {
    const total = Math.round(value);
    if (value < 60) return seconds.format(value);
    if (total < 3_600) return both(minutes!, Math.floor(total / 60), whole!, total % 60);
    const inMinutes = Math.round(value / 60);
    if (inMinutes < 2_880) return both(hours!, Math.floor(inMinutes / 60), minutes!, inMinutes % 60);
    const inHours = Math.round(value / 3_600);
    return both(days!, Math.floor(inHours / 24), hours!, inHours % 24);
  };
}

/** A change: `+12.3%`, or for percentages in points, `+1.2 pp`. Never of more digits than help. */
export function changeText(locale: string, inPoints: boolean): NumberText {
  const { format } = new Intl.NumberFormat(locale, {
    ...{ signDisplay: "exceptZero", maximumFractionDigits: 1 },
    ...(inPoints ? {} : { style: "percent" }),
  });
  return (value) => (inPoints ? `${format(value * 100)} pp` : format(value));
}
