// Draws the last hour of one connection: latency of its health checks as a line, outages as areas. uPlot stays in this file.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { proxyNow, type History } from "./api";
import { milliseconds, span } from "./words";

const hour = 3600;  // seconds

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function outages(history: () => History): uPlot.Plugin {
  return {
    hooks: {
      drawClear: (plot) => {
        const { left, top, width, height } = plot.bbox;
        plot.ctx.save();
        plot.ctx.fillStyle = colour("--outage");
        for (const { from, to } of history().outages) {
          const begin = Math.max(left, plot.valToPos(Date.parse(from) / 1000, "x", true));
          const end = Math.min(left + width, plot.valToPos((to === null ? proxyNow() : Date.parse(to)) / 1000, "x", true));
          if (end > left) plot.ctx.fillRect(begin, top, Math.max(2, end - begin), height);
        }
        plot.ctx.restore();
      },
    },
  };
}

function options(width: number, history: () => History): uPlot.Options {
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  return {
    width, height: 170, legend: { show: false }, cursor: { show: false }, plugins: [outages(history)],
    scales: {
      x: { range: () => [proxyNow() / 1000 - hour, proxyNow() / 1000] },
      y: { range: (_, __, most) => [0, Math.max(1, (most ?? 0) * 1.2)] },
    },
    axes: [
      { ...axis, values: (_, ticks) => ticks.map((tick) => new Date(tick * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })) },
      { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => `${tick} ms`) },
    ],
    series: [{}, { stroke: colour("--accent"), width: 2, points: { show: true, size: 4, fill: colour("--accent") } }],
  };
}

/// The same in a sentence, for whoever does not see the drawing.
function sentence(history: History): string {
  const values = history.latency.flatMap(({ ms }) => (ms === null ? [] : [ms]));
  const down = history.outages.reduce((sum, { from, to }) => sum + (to === null ? proxyNow() : Date.parse(to)) - Date.parse(from), 0);
  const latency = values.length === 0 ? "No health check has answered in the last hour."
      : `Health checks: ${milliseconds(values[values.length - 1]!)} last, ${milliseconds(Math.max(...values))} at most.`;
  const lost = history.outages.length === 0 ? "No outage in the last hour."
      : `${history.outages.length} ${history.outages.length === 1 ? "outage" : "outages"} in the last hour, ${span(down)} in all.`;
  return `${latency} ${lost}`;
}

export function Chart({ history }: { history: History }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(history);
  latest.current = history;
  const data = (): uPlot.AlignedData => {
    const points = latest.current.latency;
    return [points.map(({ time }) => Date.parse(time) / 1000), points.map(({ ms }) => ms)];
  };
  useEffect(() => {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(place.current!.clientWidth, () => latest.current), data(), place.current!);
    };
    make();
    const sizes = new ResizeObserver(() => plot.current?.setSize({ width: place.current!.clientWidth, height: 170 }));
    sizes.observe(place.current!);
    dark.addEventListener("change", make);
    return () => { sizes.disconnect(); dark.removeEventListener("change", make); plot.current?.destroy(); plot.current = null; };
  }, []);
  useEffect(() => plot.current?.setData(data()), [history]);
  return (
    <figure>
      <div class="plot" ref={place} aria-hidden="true" />
      <figcaption>{sentence(history)}</figcaption>
    </figure>
  );
}
