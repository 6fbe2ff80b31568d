// The same worker in TypeScript. Node strips the types by itself.
import { appendFileSync } from "node:fs";
import { hostname } from "node:os";
import { Context } from "@temporalio/activity";
import { DefaultLogger, NativeConnection, Runtime, Worker } from "@temporalio/worker";

const asked = process.env;

function note(what: string): void {
  const { workflowExecution } = Context.current().info;
  const line = `${what} ${workflowExecution?.workflowId} ${Date.now() / 1000}\n`;
  appendFileSync(`/traces/${hostname()}`, line);
}

async function work(seconds: number): Promise<void> {
  note("begun");
  await Context.current().sleep(seconds * 1000);
  note("ended");
}

Runtime.install({
  logger: new DefaultLogger("WARN"),
  workerHeartbeatInterval: Number(asked.HEARTBEAT_SECONDS) * 1000,
  // The SDK listens to SIGTERM by default. Without a listener, Node as PID 1 ignores it.
  ...("IGNORES" in asked ? { shutdownSignals: [] } : {}),
});
const worker = await Worker.create({
  connection: await NativeConnection.connect({ address: asked.TEMPORAL_ADDRESS }),
  taskQueue: asked.TASK_QUEUE ?? "",
  activities: { work },
  maxConcurrentActivityTaskExecutions: 1,
  // By default the SDK gives running activities no time at all.
  ...("HANDLES" in asked ? { shutdownGraceTime: "1 hour" } : {}),
});
await worker.run();
