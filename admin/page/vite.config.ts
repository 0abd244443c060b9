// Builds the page to one HTML file with everything in it, and the policy that lets exactly this script and this style run.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";

function sha256(text: string): string {
  return `'sha256-${createHash("sha256").update(text, "utf8").digest("base64")}'`;
}

/// The licences of what the page carries in itself ask to be carried along.
function licences(): string {
  return ["preact", "uplot"].map((name) => `${name}: ${readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim()}`).join("\n\n");
}

/// Puts script and style into the page. An end tag inside a text would end it early, so the slash is escaped.
function oneFile(): Plugin {
  return {
    name: "one-file",
    enforce: "post",
    generateBundle(_, bundle) {
      let script = "";
      let style = "";
      for (const [name, part] of Object.entries(bundle)) {
        if (part.type === "chunk") script += part.code.replaceAll("</script", "<\\/script");
        else if (name.endsWith(".css")) style += String(part.source);
        else continue;
        delete bundle[name];
      }
      const page = Object.values(bundle).find((part) => part.fileName === "index.html");
      if (page?.type !== "asset") throw new Error("there is no index.html");
      page.source = String(page.source)
        .replace(/<script type="module"[^>]*><\/script>\s*/, "")
        .replace(/<link rel="stylesheet"[^>]*>\s*/, "")
        .replace("</head>", () => `<style>${style}</style>\n</head>`)
        .replace("</body>", () => `<script type="module">${script}</script>\n</body>`)
        .replace("</html>", () => `<!--\n${licences()}\n-->\n</html>`);
      const policy =
        `default-src 'none'; script-src ${sha256(script)}; style-src ${sha256(style)}; connect-src 'self'; img-src data:; ` +
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\n";
      this.emitFile({ type: "asset", fileName: "policy.txt", source: policy });
    },
  };
}

export default defineConfig({
  plugins: [oneFile()],
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
  server: { proxy: { "/api": "http://127.0.0.1:9930" } },
  build: { outDir: "built", target: "es2022", modulePreload: false, cssCodeSplit: false, reportCompressedSize: false },
});
