import type { Interval } from "../buckets.js";
import type { MetricDimension } from "../catalog.js";
import type { Section } from "./sections.js";

/** What dimensions are called in reports for people. */
export const dimensionWords: Record<MetricDimension, string> = {
  channel_id: "channel",
  direction: "direction",
  content_kind: "kind of content",
  template: "template",
  campaign_id: "campaign",
  error_class: "class of error",
  error_code: "error code",
  started_by: "who began",
  agent_id: "agent",
};

export const intervalWords: Record<Interval, string> = {
  "15m": "quarter of an hour",
  hour: "hour",
  day: "day",
  week: "week",
  month: "month",
  all: "whole range",
};

export const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** Of a section without a title of its own: its id in words. */
export const defaultTitle = ({ id }: Section): string => capitalized(id.replaceAll("_", " "));
