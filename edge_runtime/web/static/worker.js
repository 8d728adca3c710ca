// Keeps the page's own files, so that the page opens and says so when the board is not reachable.
// The board is always asked first: what is kept is used only without an answer.
const KEPT = "page";
const isFile = (path) => path === "/"
  || (/\.(js|css|svg|png|json|webmanifest)$/.test(path) && !path.startsWith("/api/") && path !== "/openapi.json");

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("message", (event) => event.waitUntil((async () => {
  const kept = await caches.open(KEPT);
  const files = [...new Set(event.data)].filter(isFile);
  await Promise.allSettled(files.map((path) => kept.add(path)));
})()));

self.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== self.location.origin || !isFile(pathname)) return;
  event.respondWith((async () => {
    try {
      const answer = await fetch(event.request);
      if (answer.ok) {
        const copy = answer.clone();
        event.waitUntil(caches.open(KEPT).then((kept) => kept.put(pathname, copy)));
      }
      return answer;
    } catch (error) {
      const kept = await caches.match(pathname);
      if (kept) return kept;
      throw error;
    }
  })());
});
