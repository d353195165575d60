import type { z } from "zod";
import { type ReportTemplate, templateDefinition } from "../definition.js";

/** A template of the service's own: the same data as a custom one, held to the same rules. */
export const define = ({
  name,
  ...definition
}: { name: string } & z.input<typeof templateDefinition>): ReportTemplate => ({
  ...templateDefinition.parse(definition),
  name,
  version: undefined,
});
