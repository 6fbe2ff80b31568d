// worker.py in TypeScript, as far as its tests need it. Node strips the types by itself.
import { existsSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { Context } from "@temporalio/activity";
import { DefaultLogger, NativeConnection, Runtime, Worker } from "@temporalio/worker";

const asked = process.env;
const traces = "/traces";

async function run_until_released(): Promise<void> {
  const { attempt, workflowExecution } = Context.current().info;
  writeFileSync(`${traces}/${workflowExecution?.workflowId}#${attempt}@${hostname()}`, "");
  while (!existsSync(`${traces}/release`)) {
    await Context.current().sleep(200);
  }
}

Runtime.install({
  logger: new DefaultLogger("WARN"),
  workerHeartbeatInterval: Number(asked.HEARTBEAT_SECONDS ?? "2") * 1000,
});
const worker = await Worker.create({
  connection: await NativeConnection.connect({ address: asked.TEMPORAL_ADDRESS }),
  taskQueue: asked.TASK_QUEUE ?? "",
  workflowsPath: new URL("workflows.ts", import.meta.url).pathname,
  activities: { run_until_released },
  maxConcurrentWorkflowTaskExecutions: 2,
  maxConcurrentActivityTaskExecutions: 1,
  shutdownGraceTime: "50 seconds",
});
writeFileSync(`${traces}/ready-${hostname()}`, "");
await worker.run();
