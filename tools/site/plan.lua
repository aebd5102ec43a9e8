--- plan.lua - what stands where in the manual: capabilities, each a guide beside its part of the reference; guides.
-- What no capability names has a place all the same: a function of asyncio where its section is, a module or class in
-- the reference, a guide below "More".
local plan = {}

-- One of which nothing is there is left out. `sections`: of the module asyncio, all its functions but those that
-- another capability has by name (`functions`).
plan.capabilities = {
  { id = "tasks", title = "Tasks", guide = "doc/tasks.md", words = "run, start, await, group, race",
    sections = { "Running", "Awaiting", "Tasks" }, modules = { "asyncio.coroutine" },
    classes = { "Runner", "Loop", "Task", "Future", "TaskGroup", "Handle", "ContextVar", "ContextToken" } },
  { id = "cancellation", title = "Cancellation", guide = "doc/cancellation.md",
    words = "timeouts, shields, what is left in order",
    functions = { "timeout", "timeout_at", "move_on_after", "wait_for", "shield", "shielded", "defer" },
    classes = { "Timeout" } },
  { id = "coordination", title = "Coordination", guide = "doc/coordination.md",
    words = "queues, locks, events, pools", sections = { "Coordination" },
    classes = { "Queue", "Lock", "Event", "Condition", "Semaphore", "Barrier", "Pool", "Lease" } },
  { id = "networking", title = "Networking", guide = "doc/networking.md", words = "TCP and unix streams, servers",
    sections = { "Streams" }, classes = { "StreamReader", "StreamWriter", "Server" } },
  { id = "datagrams", title = "Datagrams", guide = "doc/datagrams.md", words = "UDP, multicast",
    functions = { "create_datagram_endpoint" }, classes = { "DatagramEndpoint" } },
  { id = "tls", title = "TLS", guide = "doc/tls.md", words = "certificates, verification, STARTTLS",
    modules = { "asyncio.ssl" }, classes = { "SSLContext" } },
  { id = "http", title = "HTTP", guide = "doc/http.md", words = "a server, a client", modules = { "asyncio.http" },
    classes = { "Client", "Response", "Request", "BodyWriter", "Headers" } },
  { id = "websockets", title = "WebSockets", guide = "doc/websocket.md", words = "messages, both ways",
    functions = { "http.websocket" }, classes = { "WebSocket" } },
  { id = "redis", title = "Redis", guide = "doc/redis.md", words = "pipelines, transactions, subscriptions",
    modules = { "asyncio.redis" }, classes = { "RedisClient", "RedisPipeline", "RedisSubscription" } },
  { id = "distributed", title = "Beyond one machine", guide = "doc/distributed.md", words = "jobs for many machines",
    modules = { "asyncio.distributed" }, classes = { "DistributedExecutor", "Job" } },
  { id = "parsers", title = "Parsers", guide = "doc/parsers.md", words = "grammars without input and output",
    modules = { "asyncio.parsers" }, classes = { "HTTPConnection", "WebSocketConnection" } },
  { id = "processes", title = "Processes", guide = "doc/processes.md", words = "start, talk, pipe, end",
    sections = { "Processes" }, classes = { "Process" } },
  { id = "files", title = "Files", guide = "doc/files.md", words = "paths, folders, changes", sections = { "Files" },
    modules = { "asyncio.fs" }, classes = { "File", "Watch" } },
  { id = "threads", title = "Threads", guide = "doc/threads.md", words = "other cores, channels",
    sections = { "Threads" }, classes = { "ThreadPoolExecutor", "Channel", "Remote" } },
  { id = "errors", title = "Errors", guide = "doc/errors.md", words = "classes, and who raises them",
    sections = { "Errors" }, classes = { "Error", "ExceptionGroup" } },
  { id = "testing", title = "Testing", guide = "doc/testing-your-code.md", words = "a clock that jumps",
    modules = { "asyncio.testing" } },
  { id = "debugging", title = "Debugging", guide = "doc/debugging.md", words = "reports, call graphs, the REPL",
    sections = { "Looking at them" }, modules = { "asyncio.repl" } },
  { id = "seeing", title = "Seeing", guide = "doc/seeing.md", words = "traces, ps, tree, top, numbers",
    sections = { "Looking at the loop" }, functions = { "trace" }, classes = { "Trace", "Monitor" } },
  { id = "other-libraries", title = "Other libraries", guide = "doc/other-libraries.md", words = "copas, vim.async",
    modules = { "asyncio.compat", "asyncio.compat.copas", "asyncio.compat.vim_async" },
    classes = { "VimTask", "VimSemaphore" } },
}

-- Guides that have no reference of their own: the title in the menu, and the file.
plan.ways_in = {
  { "Getting it, and why", "README.md" },
  { "From Python", "doc/from-python.md" }, { "From callbacks", "doc/from-callbacks.md" },
  { "The lecture", "examples/lecture/README.md" },
}

plan.more = {
  { "LuaSocket's programs", "doc/luasocket.md" }, { "Embedding", "doc/embedding.md" },
  { "What it costs", "bench/RESULTS.md" }, { "Changes", "CHANGELOG.md" }, { "Working on it", "CONTRIBUTING.md" },
  { "Security", "SECURITY.md" },
}

-- For those who read the sources, and stands beside these.
plan.left_out = { ["doc/design.md"] = true }

-- Values of the module asyncio that are no functions, no modules and no errors: where they are told of.
plan.values = {
  FIRST_COMPLETED = "wait", FIRST_EXCEPTION = "wait", ALL_COMPLETED = "wait",
}

return plan
