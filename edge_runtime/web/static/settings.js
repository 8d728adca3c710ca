// Settings. To be filled: once its endpoint answers, it fills #view-settings and calls context.offer("settings").
export function start(_context) {}
