// History. To be filled: once its endpoint answers, it fills #view-history and calls context.offer("history").
export function start(_context) {}
