"use strict";
// The last hour of one service: waiting tasks and replicas over time.
const WIDTH = 360, HEIGHT = 60;

function drawPlot(part, one, end) {
  const begin = end - SPAN;
  const points = one.trail;
  const peak = Math.max(1, ...points.map((point) => point[1] ?? 0));
  const most = Math.max(Math.min(one.max ?? 1, 4), ...points.map((point) => point[2]));
  const x = (at) => ((Math.max(at, begin) - begin) / SPAN * WIDTH).toFixed(1);
  const y = (number, top) => (HEIGHT - 2 - number / top * (HEIGHT - 6)).toFixed(1);
  let backlog = "", area = "", replicas = "";
  points.forEach(([at, waiting, number], index) => {
    const from = x(at), to = x(index + 1 < points.length ? points[index + 1][0] : end);
    replicas += `${index ? "L" : "M"}${from} ${y(number, most)}H${to}`;
    if (waiting === null) return;
    const joined = index && points[index - 1][1] !== null;
    backlog += `${joined ? "L" : "M"}${from} ${y(waiting, peak)}H${to}`;
    area += `M${from} ${HEIGHT}V${y(waiting, peak)}H${to}V${HEIGHT}Z`;
  });
  part["plot-backlog"].setAttribute("d", backlog);
  part["plot-area"].setAttribute("d", area);
  part["plot-replicas"].setAttribute("d", replicas);
  const known = points.some((point) => point[1] !== null);
  const highest = known ? count.format(Math.max(...points.map((point) => point[1] ?? 0))) : "unknown";
  text(part["plot-key-backlog"], `waiting, peak ${highest}`);
  text(part["plot-key-replicas"], `replicas, peak ${count.format(Math.max(...points.map((point) => point[2])))}`);
  const marks = [...part.axis.children];
  marks.slice(0, -1).forEach((mark, index) => {
    const at = new Date((begin + SPAN * index / (marks.length - 1)) * 1000);
    text(mark, at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" }));
  });
  part.plot.setAttribute("aria-label", `The last hour: ${part["plot-key-backlog"].textContent}; ${part["plot-key-replicas"].textContent}`);
}
