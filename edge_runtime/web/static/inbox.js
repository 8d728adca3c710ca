// Inbox. To be filled: once its endpoint answers, it fills #view-inbox and calls context.offer("inbox").
export function start(_context) {}
