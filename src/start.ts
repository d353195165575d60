import { supervise } from "./supervisor/supervise.js";

process.exit(await supervise());
