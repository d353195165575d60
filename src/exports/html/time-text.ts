export type TimeText = (time: Date) => string;

/** What a bucket is called; a quarter of an hour and an hour have a time of day. */
export function bucketText(
  locale: string,
  timeZone: string,
  interval: string,
): { long: TimeText; short: TimeText } {
  const text = (options: Intl.DateTimeFormatOptions): TimeText => {
    const { format } = new Intl.DateTimeFormat(locale, { timeZone, ...options });
    return (time) => format(time);
  };
  if (interval === "month") {
    const month = text({ year: "numeric", month: "short" });
    return { long: month, short: month };
  }
  const isTimed = interval === "hour" || interval === "15m";
  const clock = isTimed ? ({ hour: "2-digit", minute: "2-digit" } as const) : {};
  const day = { month: "short", day: "numeric" } as const;
  return { long: text({ year: "numeric", ...day, ...clock }), short: text({ ...day, ...clock }) };
}

/** Weekdays from Monday on. */
export function weekdayTexts(locale: string): string[] {
  const { format } = new Intl.DateTimeFormat(locale, { weekday: "short", timeZone: "UTC" });
  return Array.from({ length: 7 }, (_, day) => format(new Date(Date.UTC(1970, 0, 5 + day))));
}
