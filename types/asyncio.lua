---@meta asyncio
-- Annotations for the Lua language server (LuaCATS): add this folder to its `workspace.library`.
-- Nothing here runs. Times are seconds.

---@class asyncio
---@field _VERSION string
---@field FIRST_COMPLETED "FIRST_COMPLETED"
---@field FIRST_EXCEPTION "FIRST_EXCEPTION"
---@field ALL_COMPLETED "ALL_COMPLETED"
---@field coroutine asyncio.coroutine
---@field ssl asyncio.ssl
---@field http asyncio.http
---@field fs asyncio.fs
---@field parsers asyncio.parsers
---@field redis asyncio.redis
---@field distributed asyncio.distributed
---@field compat asyncio.compat
---@field socket asyncio.socket
---@field Error asyncio.Error
---@field CancelledError asyncio.CancelledError
---@field KeyboardInterrupt asyncio.KeyboardInterrupt
---@field ExceptionGroup asyncio.ExceptionGroup
---@field TimeoutError asyncio.TimeoutError
---@field InvalidStateError asyncio.InvalidStateError
---@field QueueEmpty asyncio.QueueEmpty
---@field QueueFull asyncio.QueueFull
---@field QueueShutDown asyncio.QueueShutDown
---@field IncompleteReadError asyncio.IncompleteReadError
---@field LimitOverrunError asyncio.LimitOverrunError
---@field BrokenBarrierError asyncio.BrokenBarrierError
---@field BrokenExecutorError asyncio.BrokenExecutorError
---@field BusyError asyncio.BusyError
---@field ClosedError asyncio.ClosedError
---@field OSError asyncio.OSError
---@field ConnectionError asyncio.ConnectionError
---@field ConnectionRefusedError asyncio.ConnectionRefusedError
---@field ConnectionResetError asyncio.ConnectionResetError
---@field BrokenPipeError asyncio.BrokenPipeError
---@field AddressInUseError asyncio.AddressInUseError
---@field FileNotFoundError asyncio.FileNotFoundError
---@field FileExistsError asyncio.FileExistsError
---@field IsADirectoryError asyncio.IsADirectoryError
---@field NotADirectoryError asyncio.NotADirectoryError
---@field PermissionError asyncio.PermissionError
---@field ProcessLookupError asyncio.ProcessLookupError
---@field ChildProcessError asyncio.ChildProcessError
---@field CalledProcessError asyncio.CalledProcessError
---@field DeadlockError asyncio.DeadlockError
---@field GaiError asyncio.GaiError
---@field SSLError asyncio.SSLError
---@field SSLCertVerificationError asyncio.SSLCertVerificationError
---@field SSLEOFError asyncio.SSLEOFError
local asyncio = {}

---What can be awaited: a task, a future, a coroutine, or a value whose metatable has `__await`.
---@alias asyncio.Awaitable asyncio.Future | thread | table

---What can be started as a task.
---@alias asyncio.Startable function | thread | table

-- Running

---Runs a function as the main task of a new loop, and everything it starts.
---@param main function | thread
---@param ... any its arguments
---@return any ... its results
function asyncio.run(main, ...) end

---@class asyncio.RunnerOptions
---@field debug? boolean
---@field measure_tasks? boolean
---@field loop_factory? fun(): asyncio.Loop
---@field executor_timeout? number seconds that jobs of the default executor have at the end (300)
---@field flush_timeout? number seconds that output to peers has to leave at the end (1)
---@field cancel_timeout? number seconds that a cancelled task has to end before it is cancelled again (1)
---@field reuse_coroutines? boolean tasks may run in coroutines of ended ones (false)
---@field stop_signals? (string | integer)[] signals that do as Ctrl-C does: `{ "SIGTERM" }`
---@field trace? string | asyncio.TraceOptions a trace from now on until the runner is closed

---Runs functions on one loop: `local runner <close> = asyncio.Runner{debug = true}`.
---@param opts? asyncio.RunnerOptions
---@return asyncio.Runner
function asyncio.Runner(opts) end

---A new loop that doesn't run yet.
---@return asyncio.Loop
function asyncio.new_event_loop() end

---The loop that runs in this Lua state; raises when none does.
---@return asyncio.Loop
function asyncio.get_running_loop() end

---The same.
---@return asyncio.Loop
function asyncio.get_event_loop() end

-- Awaiting

---Waits for something and returns its results, or raises its error.
---@param x asyncio.Awaitable
---@return any ...
function asyncio.await(x) end

---Suspends the current task; never for less than it says. `sleep(0)` gives way for one turn.
---@generic T
---@param delay number
---@param ... T what it returns
---@return T ...
function asyncio.sleep(delay, ...) end

---The running loop's clock, in seconds.
---@return number
function asyncio.time() end

---What of this library a value is: "Task", "LifoQueue", an error's class; nil for everything else.
---@param x any
---@return string?
function asyncio.type(x) end

---Whether something is a Future or a Task.
---@param x any
---@return boolean
function asyncio.isfuture(x) end

-- Tasks

---Starts a task: it takes its first step at the next turn of the loop. Also `create_task{fn, args…, name=}`;
---there trailing nils count when `n` says how many values there are.
---@param fn asyncio.Startable
---@param ... any its arguments
---@return asyncio.Task
function asyncio.create_task(fn, ...) end

---The task that runs now; nil outside of one.
---@return asyncio.Task?
function asyncio.current_task() end

---All tasks of the loop (the running one by default) that haven't ended.
---@param loop? asyncio.Loop
---@return asyncio.Task[]
function asyncio.all_tasks(loop) end

---Runs several at once and waits for all: one value each, in order. `gather{a, b, return_exceptions=}`
---returns a list with `n`.
---@param ... asyncio.Awaitable | function
---@return any ...
function asyncio.gather(...) end

---Runs several at once until the first has a result, and returns that; the others are cancelled and waited
---for. All fail: ExceptionGroup. Also `race{a, b}`.
---@param ... asyncio.Awaitable | function
---@return any ...
function asyncio.race(...) end

---@class asyncio.MapOptions
---@field max_concurrent? integer how many calls may be under way at a time

---Calls a function with each value of a list and its place, all at once or so many at a time: a list of their
---first results, in order, with `n`. The first failure cancels the others.
---@param fn fun(value: any, i: integer): any
---@param list table
---@param opts? asyncio.MapOptions
---@return table
function asyncio.map(fn, list, opts) end

---@class asyncio.WaitOptions
---@field timeout? number
---@field return_when? "FIRST_COMPLETED" | "FIRST_EXCEPTION" | "ALL_COMPLETED"

---Waits until some or all are done; cancels nothing, and raises none of their errors.
---@param list (asyncio.Awaitable | function)[]
---@param opts? asyncio.WaitOptions
---@return asyncio.Future[] done in the order of the list
---@return asyncio.Future[] pending
function asyncio.wait(list, opts) end

---Iterates over several in the order in which they end.
---@param list (asyncio.Awaitable | function)[]
---@param opts? { timeout?: number }
---@return fun(): asyncio.Future?
function asyncio.as_completed(list, opts) end

---Protects something from the cancellation of who waits for it.
---@param aw asyncio.Awaitable | function
---@return asyncio.Future
function asyncio.shield(aw) end

---Tasks that end before the block does: `local g <close> = asyncio.TaskGroup()`.
---@return asyncio.TaskGroup
function asyncio.TaskGroup() end

---A block that may take so long: `local _ <close> = asyncio.timeout(2)`.
---@param delay? number nil: no limit yet
---@return asyncio.Timeout
function asyncio.timeout(delay) end

---The same, with a moment of the loop's clock.
---@param when? number
---@return asyncio.Timeout
function asyncio.timeout_at(when) end

---Calls a function when the block is left: `local _ <close> = asyncio.defer(fn)`. It may wait, and hides no
---error.
---@param fn function
---@param ... any its arguments
---@return asyncio.Deferred
function asyncio.defer(fn, ...) end

---A block in which cancellations from outside wait: `local _ <close> = asyncio.shielded()`.
---@param seconds? number so long at most
---@return asyncio.Shielded
function asyncio.shielded(seconds) end

---Calls a function that takes a callback as its last argument (`{fn, args..., at=n}`: its n-th), and waits
---for that.
---@param fn function | table
---@param ... any its arguments, before the callback
---@return any ... what the callback was called with
function asyncio.await_callback(fn, ...) end

---Waits for something for so long, then cancels it and raises TimeoutError. A function runs in the
---caller's own task.
---@param aw asyncio.Awaitable | function
---@param timeout? number
---@return any ...
function asyncio.wait_for(aw, timeout) end

---Runs a function for so long at most.
---@param delay number
---@param fn function
---@param ... any its arguments
---@return boolean in_time
---@return any ... its results
function asyncio.move_on_after(delay, fn, ...) end

---Who awaits whom, as text: each task with the places where it stands, and below it what it awaits.
---@param what? asyncio.Future | "all" nil: the running task, or all
---@return string
function asyncio.format_call_graph(what) end

---@param loop? asyncio.Loop
---@return string
function asyncio.stats_text(loop) end

---@class asyncio.TraceOptions
---@field path string ends in `.html` (a page) or `.json` (Trace Event format)
---@field max_events? integer how many are kept (1000000)

---What all tasks do is noted from now on, and written to the file when it is closed or the program ends.
---@param path string | asyncio.TraceOptions
---@return asyncio.Trace trace a `<close>` variable
function asyncio.trace(path) end

---@class asyncio.Trace
local Trace = {}

---Ends it and writes its file.
function Trace:close() end

---@class asyncio.Monitor
local Monitor = {}

---@return string
function Monitor:get_path() end

function Monitor:close() end

---@param opts? { path?: string }
---@return asyncio.Monitor
function asyncio.monitor(opts) end

---Prints it.
---@param what? asyncio.Future | "all"
function asyncio.print_call_graph(what) end

-- Coordination

---@return asyncio.Lock
function asyncio.Lock() end

---@return asyncio.Event
function asyncio.Event() end

---@param lock? asyncio.Lock | { lock?: asyncio.Lock }
---@return asyncio.Condition
function asyncio.Condition(lock) end

---@param value? integer | { value?: integer }
---@return asyncio.Semaphore
function asyncio.Semaphore(value) end

---@param value? integer | { value?: integer }
---@return asyncio.Semaphore
function asyncio.BoundedSemaphore(value) end

---@param parties integer | { parties: integer }
---@return asyncio.Barrier
function asyncio.Barrier(parties) end

---First in, first out.
---@param maxsize? integer | { maxsize?: integer }
---@return asyncio.Queue
function asyncio.Queue(maxsize) end

---Last in, first out.
---@param maxsize? integer | { maxsize?: integer }
---@return asyncio.Queue
function asyncio.LifoQueue(maxsize) end

---The least comes out first; of equal ones, the one put first.
---@param maxsize? integer | { maxsize?: integer, compare?: fun(a: any, b: any): boolean }
---@return asyncio.Queue
function asyncio.PriorityQueue(maxsize) end

-- Streams

---@class asyncio.Address
---@field host? string
---@field port? integer
---@field family "inet" | "inet6" | "unix"
---@field path? string

---@class asyncio.ConnectOptions
---@field limit? integer bytes that a separator is looked for in (65536)
---@field read_timeout? number seconds that a call may wait without a byte's coming
---@field write_timeout? number seconds that a call may wait without a byte's being taken
---@field connect_timeout? number seconds for the lookup, connecting and the handshake
---@field family? "inet" | "inet6" | "any"
---@field local_addr? { host: string, port?: integer }
---@field happy_eyeballs_delay? number (0.25)
---@field nodelay? boolean (true)
---@field keepalive? boolean | { idle?: integer, interval?: integer, count?: integer } (false)
---@field ssl? boolean | asyncio.SSLContext TLS: a client's context, or true for the default one
---@field server_hostname? string what the peer's certificate must be for (the host)
---@field ssl_handshake_timeout? number seconds (15)

---@class asyncio.ConnectByNameOptions
---@field host? string
---@field port? integer
---@field fd? integer a connected socket that was made elsewhere, in place of host and port
---@field limit? integer (65536)
---@field read_timeout? number
---@field write_timeout? number
---@field connect_timeout? number
---@field family? "inet" | "inet6" | "any"
---@field local_addr? { host: string, port?: integer }
---@field happy_eyeballs_delay? number (0.25)
---@field nodelay? boolean (true)
---@field keepalive? boolean | { idle?: integer, interval?: integer, count?: integer } (false)
---@field ssl? boolean | asyncio.SSLContext TLS: a client's context, or true for the default one
---@field server_hostname? string what the peer's certificate must be for (the host)
---@field ssl_handshake_timeout? number seconds (15)

---Connects to a TCP server, or takes a connected socket.
---@param host string a name or a number
---@param port integer
---@param opts? asyncio.ConnectOptions
---@overload fun(arguments: asyncio.ConnectByNameOptions): asyncio.StreamReader, asyncio.StreamWriter
---@return asyncio.StreamReader
---@return asyncio.StreamWriter
function asyncio.open_connection(host, port, opts) end

---@class asyncio.ServerOptions
---@field limit? integer (65536)
---@field read_timeout? number seconds that a call may wait without a byte's coming
---@field write_timeout? number seconds that a call may wait without a byte's being taken
---@field family? "inet" | "inet6" | "any"
---@field backlog? integer (128)
---@field reuse_address? boolean (true)
---@field reuse_port? boolean (false)
---@field nodelay? boolean (true)
---@field keepalive? boolean | { idle?: integer, interval?: integer, count?: integer } (false)
---@field start_serving? boolean (true)
---@field close_timeout? number seconds without progress before a closing connection is aborted (30)
---@field max_connections? integer at so many accepting pauses until one has ended (no limit)
---@field stop_grace? number seconds for the shutdown that a cancellation makes; 0: it aborts (0)
---@field ssl? asyncio.SSLContext TLS: a server's context
---@field ssl_handshake_timeout? number seconds (15)
---@field max_handshakes? integer so many are under way at a time (no limit)

---@class asyncio.ServeByNameOptions
---@field host? string | string[] nil: every address of this machine
---@field port? integer
---@field fd? integer a socket that listens already, in place of host and port
---@field limit? integer (65536)
---@field read_timeout? number
---@field write_timeout? number
---@field family? "inet" | "inet6" | "any"
---@field backlog? integer (128)
---@field reuse_address? boolean (true)
---@field reuse_port? boolean (false)
---@field nodelay? boolean (true)
---@field keepalive? boolean | { idle?: integer, interval?: integer, count?: integer } (false)
---@field start_serving? boolean (true)
---@field close_timeout? number (30)
---@field max_connections? integer
---@field stop_grace? number (0)
---@field ssl? asyncio.SSLContext TLS: a server's context
---@field ssl_handshake_timeout? number seconds (15)
---@field max_handshakes? integer so many are under way at a time (no limit)

---Starts a TCP server: the handler runs as a task for each connection.
---@param handler fun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter)
---@param host? string | string[] nil: every address of this machine
---@param port integer 0: any that is free, see `Server:sockets`
---@param opts? asyncio.ServerOptions
---@overload fun(handler: function, arguments: asyncio.ServeByNameOptions): asyncio.Server
---@return asyncio.Server
function asyncio.start_server(handler, host, port, opts) end

---@class asyncio.UnixConnectOptions
---@field limit? integer (65536)
---@field read_timeout? number seconds that a call may wait without a byte's coming
---@field write_timeout? number seconds that a call may wait without a byte's being taken
---@field connect_timeout? number seconds that the server's backlog may stay full
---@field ssl? boolean | asyncio.SSLContext TLS: a client's context, or true for the default one
---@field server_hostname? string what the peer's certificate must be for (none)
---@field ssl_handshake_timeout? number seconds (15)

---@class asyncio.UnixConnectByNameOptions
---@field path? string
---@field fd? integer a connected unix socket that was made elsewhere, in place of the path
---@field limit? integer (65536)
---@field read_timeout? number
---@field write_timeout? number
---@field connect_timeout? number
---@field ssl? boolean | asyncio.SSLContext TLS: a client's context, or true for the default one
---@field server_hostname? string what the peer's certificate must be for (none)
---@field ssl_handshake_timeout? number seconds (15)

---Connects to a server's unix socket. While the server's backlog is full it waits.
---@param path string on Linux one that begins with a zero byte is an abstract name
---@param opts? asyncio.UnixConnectOptions
---@overload fun(arguments: asyncio.UnixConnectByNameOptions): asyncio.StreamReader, asyncio.StreamWriter
---@return asyncio.StreamReader
---@return asyncio.StreamWriter
function asyncio.open_unix_connection(path, opts) end

---@class asyncio.UnixServerOptions
---@field limit? integer (65536)
---@field read_timeout? number seconds that a call may wait without a byte's coming
---@field write_timeout? number seconds that a call may wait without a byte's being taken
---@field backlog? integer (128)
---@field start_serving? boolean (true)
---@field close_timeout? number seconds without progress before a closing connection is aborted (30)
---@field max_connections? integer at so many accepting pauses until one has ended (no limit)
---@field stop_grace? number seconds for the shutdown that a cancellation makes; 0: it aborts (0)
---@field cleanup_socket? boolean closing the server removes the file (true)
---@field ssl? asyncio.SSLContext TLS: a server's context
---@field ssl_handshake_timeout? number seconds (15)
---@field max_handshakes? integer so many are under way at a time (no limit)

---@class asyncio.UnixServeByNameOptions
---@field path? string
---@field fd? integer a socket that listens already, in place of the path
---@field limit? integer (65536)
---@field read_timeout? number
---@field write_timeout? number
---@field backlog? integer (128)
---@field start_serving? boolean (true)
---@field close_timeout? number (30)
---@field max_connections? integer
---@field stop_grace? number (0)
---@field cleanup_socket? boolean (true)
---@field ssl? asyncio.SSLContext TLS: a server's context
---@field ssl_handshake_timeout? number seconds (15)
---@field max_handshakes? integer so many are under way at a time (no limit)

---Starts a server on a unix socket. The file of a server that is gone is replaced.
---@param handler fun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter)
---@param path string on Linux one that begins with a zero byte is an abstract name
---@param opts? asyncio.UnixServerOptions
---@overload fun(handler: function, arguments: asyncio.UnixServeByNameOptions): asyncio.Server
---@return asyncio.Server
function asyncio.start_unix_server(handler, path, opts) end

---@class asyncio.DatagramOptions
---@field local_addr? { host?: string, port?: integer } host nil: all of this machine; port 0: any free one
---@field remote_addr? { host: string, port: integer } it sends there, and hears nobody else
---@field path? string of a unix socket
---@field remote_path? string
---@field family? "inet" | "inet6" | "unix" needed where there is no address
---@field reuse_address? boolean (false)
---@field reuse_port? boolean (false)
---@field allow_broadcast? boolean (false)
---@field max_queue? integer so many datagrams wait at most (1024)
---@field max_size? integer bytes; longer ones are dropped and counted (65536)
---@field receive_buffer? integer bytes, the system's
---@field send_buffer? integer bytes, the system's
---@field ttl? integer
---@field multicast_ttl? integer (1)
---@field multicast_loopback? boolean (true)
---@field multicast_interface? string | integer name, number, or IPv4 address of its own
---@field icmp_errors? boolean errors of unconnected sends are heard (false)

---Opens a socket for datagrams: UDP, or of unix sockets.
---@param opts asyncio.DatagramOptions
---@return asyncio.DatagramEndpoint
function asyncio.create_datagram_endpoint(opts) end

---Two ends of a connection in memory: what is written to one is read from the other.
---@param opts? { limit?: integer, read_timeout?: number, write_timeout?: number } of both ends
---@return asyncio.StreamReader one end's
---@return asyncio.StreamWriter
---@return asyncio.StreamReader the other's
---@return asyncio.StreamWriter
function asyncio.stream_pair(opts) end

---A reader of what `feed` puts in. Needs a running loop, and no task.
---@param limit? integer | { limit?: integer, read_timeout?: number } of a line, in bytes (65536)
---@return asyncio.StreamReader
function asyncio.StreamReader(limit) end

---Waits until a descriptor can be read, or has an end or error to tell of.
---@param fd integer | { getfd: fun(self): integer }
function asyncio.wait_readable(fd) end

---Waits until a descriptor can be written, or has an error to tell of.
---@param fd integer | { getfd: fun(self): integer }
function asyncio.wait_writable(fd) end

---The process's standard input as a stream: one for each loop. What is read ahead is there in the next loop.
---@param opts? { limit?: integer }
---@return asyncio.StreamReader
function asyncio.stdin(opts) end

---The process's standard output as a stream: one for each loop. The end of `run` waits for its reader.
---@return asyncio.StreamWriter
function asyncio.stdout() end

---The process's standard error as a stream.
---@return asyncio.StreamWriter
function asyncio.stderr() end

---A descriptor as a stream. A number is the stream's from now on, a file of `io` stays its user's.
---@param fd integer | file*
---@param opts? { limit?: integer, read_timeout?: number, write_timeout?: number }
---@return asyncio.StreamReader? reader nil where it can only be written
---@return asyncio.StreamWriter
function asyncio.open_fd(fd, opts) end

---Copies what a reader gives to a writer, until its end; neither is ended or closed. How many bytes.
---@param reader asyncio.StreamReader
---@param writer asyncio.StreamWriter
---@param opts? { max_bytes?: integer }
---@return integer
function asyncio.copy(reader, writer, opts) end

-- Errors

---Whether `value` is an error of `class`, or of a class below it; false for values of any other kind.
---@param value any
---@param class asyncio.ErrorClass
---@return boolean
function asyncio.isinstance(value, class) end

---Like Lua's `pcall`, but a CancelledError or KeyboardInterrupt passes through.
---@param f function
---@param ... any
---@return boolean ok
---@return any ...
function asyncio.pcall(f, ...) end

---Like Lua's `xpcall`, but a CancelledError or KeyboardInterrupt passes through.
---@param f function
---@param msgh function
---@param ... any
---@return boolean ok
---@return any ...
function asyncio.xpcall(f, msgh, ...) end

---A message handler for `asyncio.xpcall`: the error stays as it is, and its traceback comes after it.
---@generic E
---@param err E
---@return E
function asyncio.traceback(err) end

---@alias asyncio.ErrorClass asyncio.Error | asyncio.CancelledError | asyncio.KeyboardInterrupt

---An error, or a class of errors: call the class to make one. CancelledError and KeyboardInterrupt are not
---below it, so that what catches an Error lets them pass.
---@class asyncio.Error
---@field message string
---@field traceback? string
---@field name string of the class
---@overload fun(message?: string | table): asyncio.Error
local Error = {}

---A class below this one.
---@param name string
---@return asyncio.Error
function Error:subclass(name) end

---@class asyncio.CancelledError
---@field message string
---@field traceback? string
---@field name string
---@overload fun(message?: string | table): asyncio.CancelledError

---@class asyncio.KeyboardInterrupt
---@field message string
---@field traceback? string
---@field signal? string | integer "SIGINT", or which of the runner's stop_signals it was
---@field name string
---@overload fun(message?: string | table): asyncio.KeyboardInterrupt

---@class asyncio.TimeoutError : asyncio.Error
---@field phase? "lookup" | "connect" | "read" | "write" of a stream: what took too long
---@field stdout? string of run_process: what the program had said
---@field stderr? string
---@field args? string[] | string of run_process: the list, or the script
---@class asyncio.InvalidStateError : asyncio.Error
---@class asyncio.QueueEmpty : asyncio.Error
---@class asyncio.QueueFull : asyncio.Error
---@class asyncio.QueueShutDown : asyncio.Error
---@class asyncio.BrokenBarrierError : asyncio.Error
---@class asyncio.BrokenExecutorError : asyncio.Error
---@class asyncio.BusyError : asyncio.Error
---@class asyncio.ClosedError : asyncio.Error

---@class asyncio.IncompleteReadError : asyncio.Error
---@field partial string what there was
---@field expected? integer

---@class asyncio.LimitOverrunError : asyncio.Error
---@field consumed integer

---@class asyncio.OSError : asyncio.Error
---@field code string such as "ECONNREFUSED"
---@field errno integer
---@field syscall? string
---@field address? string
---@field path? string
---@field path2? string of calls with two paths, as rename

---@class asyncio.ConnectionError : asyncio.OSError
---@class asyncio.ConnectionRefusedError : asyncio.ConnectionError
---@class asyncio.ConnectionResetError : asyncio.ConnectionError
---@class asyncio.BrokenPipeError : asyncio.ConnectionError
---@class asyncio.AddressInUseError : asyncio.OSError
---@class asyncio.FileNotFoundError : asyncio.OSError
---@class asyncio.FileExistsError : asyncio.OSError
---@class asyncio.IsADirectoryError : asyncio.OSError
---@class asyncio.NotADirectoryError : asyncio.OSError
---@class asyncio.PermissionError : asyncio.OSError
---@class asyncio.ProcessLookupError : asyncio.OSError
---@class asyncio.ChildProcessError : asyncio.OSError
---@class asyncio.GaiError : asyncio.OSError
---@class asyncio.SSLError : asyncio.OSError
---@field reason? string as OpenSSL has it, and Python: "WRONG_VERSION_NUMBER"
---@field library? string likewise: "SSL"

---@class asyncio.SSLCertVerificationError : asyncio.SSLError
---@field verify_code integer OpenSSL's
---@field verify_message? string

---@class asyncio.SSLEOFError : asyncio.SSLError

---@class asyncio.CalledProcessError : asyncio.Error
---@field returncode integer of a signal: negative
---@field stdout? string
---@field stderr? string
---@field args string[] | string the list, or the script

---@class asyncio.DeadlockError : asyncio.Error

---@class asyncio.ExceptionGroup : asyncio.Error
---@field errors any[]
---@overload fun(message: string, errors: any[]): asyncio.ExceptionGroup
local ExceptionGroup = {}

---The group with only the errors that match; nil when none does.
---@param match asyncio.ErrorClass | fun(err: any): boolean
---@return asyncio.ExceptionGroup?
function ExceptionGroup:subgroup(match) end

---Two groups: the errors that match, and the rest; nil for an empty one.
---@param match asyncio.ErrorClass | fun(err: any): boolean
---@return asyncio.ExceptionGroup?
---@return asyncio.ExceptionGroup?
function ExceptionGroup:split(match) end

-- Classes

---@class asyncio.Runner
local Runner = {}

---Its loop, made at the first call.
---@return asyncio.Loop
function Runner:get_loop() end

---Runs a function as a task, to its end. Ctrl-C cancels it, and raises KeyboardInterrupt here; a second one
---breaks it, if it caught that and went on; a third ends the process.
---@param main function | thread
---@param ... any
---@return any ...
function Runner:run(main, ...) end

---Cancels what is left and waits for it, sends what was written, closes the loop.
function Runner:close() end

---@class asyncio.LoopStats
---@field turns integer
---@field steps integer
---@field longest_step number
---@field lag number
---@field max_lag number
---@field busy number
---@field uptime number
---@field tasks integer
---@field tasks_made integer
---@field streams integer
---@field timers integer
---@field jobs integer
---@field bytes_in integer
---@field bytes_out integer
---@field memory? integer

---@class asyncio.Loop
---@field slow_callback_duration number a step that takes longer is reported (0.1)
local Loop = {}

---@param x asyncio.Awaitable | function
---@param ... any
---@return any ...
function Loop:run_until_complete(x, ...) end

function Loop:run_forever() end

---One turn, for a host with a main loop of its own. Whether anything can still come.
---@param timeout? number seconds that it may wait (0); `math.huge`: without limit
---@return boolean
function Loop:run_once(timeout) end

---The descriptor that a host waits for, before `run_once`.
---@return integer
function Loop:backend_fd() end

---How long it may wait there, seconds; nil: without limit.
---@return number?
function Loop:backend_timeout() end

function Loop:stop() end

function Loop:close() end

---@return boolean
function Loop:is_running() end

---@return boolean
function Loop:is_closed() end

---Monotonic seconds since some moment.
---@return number
function Loop:time() end

---@return asyncio.LoopStats
function Loop:stats() end

---@param on boolean
function Loop:measure_tasks(on) end

---@param fn function must not await
---@param ... any
---@return asyncio.Handle
function Loop:call_soon(fn, ...) end

---@param delay number
---@param fn function must not await
---@param ... any
---@return asyncio.Handle
function Loop:call_later(delay, fn, ...) end

---@param when number
---@param fn function must not await
---@param ... any
---@return asyncio.Handle
function Loop:call_at(when, fn, ...) end

---@return asyncio.Future
function Loop:create_future() end

---@param fn asyncio.Startable
---@param ... any
---@return asyncio.Task
function Loop:create_task(fn, ...) end

---@class asyncio.Context
---@field message string
---@field exception? any
---@field task? asyncio.Task
---@field future? asyncio.Future
---@field handle? asyncio.Handle
---@field traceback? string
---@field source_traceback? string

---@param handler? fun(loop: asyncio.Loop, context: asyncio.Context)
function Loop:set_exception_handler(handler) end

---@return fun(loop: asyncio.Loop, context: asyncio.Context)?
function Loop:get_exception_handler() end

---@param context asyncio.Context
function Loop:call_exception_handler(context) end

---@param context asyncio.Context
function Loop:default_exception_handler(context) end

---@param on boolean
function Loop:set_debug(on) end

---@return boolean
function Loop:get_debug() end

---@param fd integer | { getfd: fun(self): integer }
---@param fn function must not await
---@param ... any
function Loop:add_reader(fd, fn, ...) end

---@param pool? asyncio.ThreadPoolExecutor | asyncio.DistributedExecutor nil: the default one
---@param fn fun(...): ...
---@param ... any
---@return asyncio.Future
function Loop:run_in_executor(pool, fn, ...) end

---@param pool asyncio.ThreadPoolExecutor
function Loop:set_default_executor(pool) end

---@return asyncio.Remote
function Loop:remote() end

---@param fd integer | { getfd: fun(self): integer }
---@return boolean
function Loop:remove_reader(fd) end

---@param fd integer | { getfd: fun(self): integer }
---@param fn function must not await
---@param ... any
function Loop:add_writer(fd, fn, ...) end

---@param fd integer | { getfd: fun(self): integer }
---@return boolean
function Loop:remove_writer(fd) end

---@param signal string | integer a name like "SIGTERM", or a number
---@param fn function must not await; `asyncio.create_task`, followed by the function, for one that does
---@param ... any
function Loop:add_signal_handler(signal, fn, ...) end

---@param signal string | integer
---@return boolean
function Loop:remove_signal_handler(signal) end

---@param host? string
---@param port? integer | string
---@param opts? { family?: "inet" | "inet6" | "any", passive?: boolean }
---@return asyncio.Address[]
function Loop:getaddrinfo(host, port, opts) end

---@param addr asyncio.Address
---@param opts? { numeric?: boolean }
---@return string host
---@return string service
function Loop:getnameinfo(addr, opts) end

---@class asyncio.Handle
local Handle = {}

function Handle:cancel() end

---@return boolean
function Handle:cancelled() end

---@return number?
function Handle:when() end

---@class asyncio.Future
local Future = {}

---@return boolean
function Future:done() end

---@return boolean
function Future:cancelled() end

---@param msg? any
---@return boolean false when it was done already
function Future:cancel(msg) end

---@return any ...
function Future:result() end

---The error it ended with, and true; nil and false when it ended well.
---@return any err
---@return boolean failed
function Future:exception() end

---@param ... any
function Future:set_result(...) end

---@param err any
function Future:set_exception(err) end

---@param fn fun(future: asyncio.Future) must not await
function Future:add_done_callback(fn) end

---@param fn fun(future: asyncio.Future)
---@return integer
function Future:remove_done_callback(fn) end

---@return asyncio.Loop
function Future:get_loop() end

---Where its error was raised, if that is known: of a task, or of a job, in the worker. Where a task stands.
---@return string?
function Future:traceback() end

---@class asyncio.Task : asyncio.Future
local Task = {}

---@return { busy: number, scheduled: number, idle: number, steps: integer }?
function Task:stats() end

---How many cancellations were requested and not taken back.
---@return integer
function Task:cancelling() end

---@return integer
function Task:uncancel() end

---@return string
function Task:get_name() end

---@param name string
function Task:set_name(name) end

---Cancels it if it hasn't ended, and waits until it has; raises its own error, unless somebody has looked at
---it. Leaving a block whose `<close>` variable it is does so, too.
function Task:stop() end

---Its coroutine, which is no other task's; after the end nil, unless it was asked for before.
---@return thread?
function Task:get_coro() end

---@class asyncio.TaskGroup
local TaskGroup = {}

---@param fn asyncio.Startable
---@param ... any
---@return asyncio.Task
function TaskGroup:create_task(fn, ...) end

---Starts a task in the group, and waits until it calls its first argument: returns what it gives to that.
---@param fn asyncio.Startable
---@param ... any
---@return any ...
function TaskGroup:start(fn, ...) end

function TaskGroup:cancel() end

---@class asyncio.Deferred

---@class asyncio.Shielded

-- Processes

---@alias asyncio.Given file*|asyncio.File|asyncio.StreamReader|asyncio.StreamWriter
---@alias asyncio.Stdio "pipe"|"null"|"inherit"|integer|asyncio.Given

---@class asyncio.ExecOptions
---@field stdin? asyncio.Stdio
---@field stdout? asyncio.Stdio
---@field stderr? asyncio.Stdio | "stdout"
---@field cwd? string
---@field env? table<string, string | number> all of it
---@field extra_env? table<string, string | number | false> added to ours; false removes
---@field limit? integer of the streams (65536)
---@field new_session? boolean
---@field process_group? integer 0: its own
---@field umask? integer | string
---@field uid? integer
---@field gid? integer
---@field pass_fds? integer[] | table<integer, integer | file* | asyncio.StreamReader | asyncio.StreamWriter>
---@field kill_timeout? number seconds (5)
---@field drain_grace? number seconds (1)
---@field argv0? string
---@field detach? boolean

---@class asyncio.ShellOptions
---@field stdin? asyncio.Stdio
---@field stdout? asyncio.Stdio
---@field stderr? asyncio.Stdio | "stdout"
---@field cwd? string
---@field env? table<string, string | number> all of it
---@field extra_env? table<string, string | number | false> added to ours; false removes
---@field limit? integer of the streams (65536)
---@field new_session? boolean
---@field process_group? integer 0: its own
---@field umask? integer | string
---@field uid? integer
---@field gid? integer
---@field pass_fds? integer[] | table<integer, integer | file* | asyncio.StreamReader | asyncio.StreamWriter>
---@field kill_timeout? number seconds (5)
---@field drain_grace? number seconds (1)
---@field args? (string | number)[] $1, $2, ...
---@field detach? boolean

---@class asyncio.RunProcessOptions
---@field stdin? asyncio.Stdio
---@field stdout? asyncio.Stdio
---@field stderr? asyncio.Stdio | "stdout"
---@field cwd? string
---@field env? table<string, string | number> all of it
---@field extra_env? table<string, string | number | false> added to ours; false removes
---@field limit? integer of the streams (65536)
---@field new_session? boolean
---@field process_group? integer 0: its own
---@field umask? integer | string
---@field uid? integer
---@field gid? integer
---@field pass_fds? integer[] | table<integer, integer | file* | asyncio.StreamReader | asyncio.StreamWriter>
---@field kill_timeout? number seconds (5)
---@field drain_grace? number seconds (1)
---@field argv0? string
---@field args? (string | number)[]
---@field input? string
---@field capture? boolean
---@field check? boolean (true)
---@field timeout? number

---@class asyncio.ProcessResult
---@field returncode integer of a signal: negative
---@field stdout? string
---@field stderr? string
---@field args string[] | string

---@class asyncio.Process
---@field pid integer
---@field args string[] | string
---@field stdin? asyncio.StreamWriter
---@field stdout? asyncio.StreamReader
---@field stderr? asyncio.StreamReader
local Process = {}

---Waits until it has ended.
---@return integer code of a signal: negative
function Process:wait() end

---How it has ended.
---@return integer? nil while it runs
function Process:returncode() end

---Writes input, reads all output, waits for the end.
---@param input? string
---@return string? out
---@return string? err
function Process:communicate(input) end

---Sends a signal, to all of its group if it leads one.
---@param signal string | integer
---@return boolean false once it has been reaped
function Process:send_signal(signal) end

---Sends SIGTERM.
---@return boolean
function Process:terminate() end

---Sends SIGKILL.
---@return boolean
function Process:kill() end

---Starts a program: `program, arg, ..., opts`, or `{program, arg, ...}, opts`.
---@param program string | (string | number)[]
---@param ... string | number | asyncio.ExecOptions
---@return asyncio.Process
function asyncio.create_subprocess_exec(program, ...) end

---Starts a script of the shell.
---@param script string
---@param opts? asyncio.ShellOptions
---@return asyncio.Process
function asyncio.create_subprocess_shell(script, opts) end

---Runs a program, or a script, to its end.
---@param command (string | number)[] | string
---@param opts? asyncio.RunProcessOptions
---@return asyncio.ProcessResult
function asyncio.run_process(command, opts) end

-- Files

---Opens a file, off the loop: `local file <close> = asyncio.open(path, "w")`.
---@param path string
---@param mode? string as `io.open`'s ("r")
---@return asyncio.File
function asyncio.open(path, mode) end

---For each line of a file, which is closed then.
---@param path string
---@param ... string | integer formats
---@return fun(): any ...
---@return nil
---@return nil
---@return asyncio.File
function asyncio.lines(path, ...) end

---@class asyncio.File
local File = {}

---Reads by formats: "l", "L", "a", "n", or a number of bytes.
---@param ... string | integer
---@return any ... nil where the file has ended
function File:read(...) end

---For each line; the file stays open.
---@param ... string | integer
---@return fun(): any ...
function File:lines(...) end

---Writes strings and numbers; they are kept back for a while.
---@param ... string | number
---@return asyncio.File
function File:write(...) end

---Moves the position, or tells it.
---@param whence? "set" | "cur" | "end" ("cur")
---@param offset? integer (0)
---@return integer
function File:seek(whence, offset) end

---Hands what was written to the system.
---@return asyncio.File
function File:flush() end

---As `flush`, and waits until the disk has it.
---@return asyncio.File
function File:sync() end

---Makes it so long.
---@param size? integer up to the position
---@return asyncio.File
function File:truncate(size) end

---Writes what was kept back, and closes it.
---@return true
function File:close() end

---@class asyncio.PoolOptions
---@field create fun(): any makes one; it may wait
---@field check? fun(value: any): boolean false: it is good no more
---@field destroy? fun(value: any) it may wait
---@field max? integer 10
---@field max_idle? integer how many are kept; `max`
---@field idle_timeout? number seconds

---Keeps what is dear to make, and lends it.
---@param opts asyncio.PoolOptions
---@return asyncio.Pool
function asyncio.Pool(opts) end

---@class asyncio.Pool
local Pool = {}

---Waits for one: `local lease <close> = pool:acquire()`.
---@return asyncio.Lease
function Pool:acquire() end

---@return { idle: integer, in_use: integer, waiting: integer, created: integer, destroyed: integer }
function Pool:stats() end

---Lends no more; what is idle is destroyed, and each lease as it comes back.
function Pool:shutdown() end

---@class asyncio.Lease
---@field value any
local Lease = {}

---Gives it back before the block is left.
function Lease:release() end

---Destroys it: it is good no more.
function Lease:discard() end

---@class asyncio.Timeout
local Timeout = {}

---@return number?
function Timeout:when() end

---@param when? number
function Timeout:reschedule(when) end

---It expires so many seconds later.
---@param seconds number
function Timeout:extend(seconds) end

---@return boolean
function Timeout:expired() end

---@class asyncio.Lock
local Lock = {}

---`local _ <close> = lock:acquire()`
---@return asyncio.Lock
function Lock:acquire() end

function Lock:release() end

---@return boolean
function Lock:locked() end

---@class asyncio.Event
local Event = {}

---@return true
function Event:wait() end

function Event:set() end

function Event:clear() end

---@return boolean
function Event:is_set() end

---@class asyncio.Condition
local Condition = {}

---@return asyncio.Condition
function Condition:acquire() end

function Condition:release() end

---@return boolean
function Condition:locked() end

---@return true
function Condition:wait() end

---@generic T
---@param predicate fun(): T
---@return T
function Condition:wait_for(predicate) end

---@param n? integer (1)
function Condition:notify(n) end

function Condition:notify_all() end

---@class asyncio.Semaphore
local Semaphore = {}

---@return asyncio.Semaphore
function Semaphore:acquire() end

function Semaphore:release() end

---@return boolean
function Semaphore:locked() end

---@class asyncio.Barrier
local Barrier = {}

---@return integer place from 1
function Barrier:wait() end

function Barrier:abort() end

function Barrier:reset() end

---@return integer
function Barrier:parties() end

---@return integer
function Barrier:n_waiting() end

---@return boolean
function Barrier:broken() end

---@class asyncio.Queue
local Queue = {}

---@param item any
function Queue:put(item) end

---@param item any
function Queue:put_nowait(item) end

---@return any
function Queue:get() end

---@return any
function Queue:get_nowait() end

---@return fun(): integer?, any
function Queue:iter() end

function Queue:join() end

function Queue:task_done() end

---@param immediate? boolean
function Queue:shutdown(immediate) end

---@return integer
function Queue:qsize() end

---@return integer
function Queue:maxsize() end

---@return boolean
function Queue:empty() end

---@return boolean
function Queue:full() end

---@class asyncio.StreamReader
local StreamReader = {}

---Up to n bytes; nil at the end. With a negative n all until the end.
---@param n? integer (-1)
---@return string?
function StreamReader:read(n) end

---A line with its newline; nil at the end.
---@return string?
function StreamReader:readline() end

---Exactly n bytes; nil when the stream has ended before the first of them.
---@param n integer
---@return string?
function StreamReader:readexactly(n) end

---Up to and with a separator; nil when the stream has ended and nothing is left.
---@param sep? string | string[] ("\n")
---@return string?
function StreamReader:readuntil(sep) end

---The lines, without their newlines.
---@param separator? string ("\n")
---@return fun(): string?
function StreamReader:lines(separator) end

---What comes, in pieces of up to n bytes.
---@param n? integer (65536)
---@return fun(): string?
function StreamReader:blocks(n) end

---Up to n of the next bytes, which stay; waits for `least`, or the end: nil where nothing is left.
---@param n? integer (1)
---@param least? integer (1)
---@return string?
function StreamReader:peek(n, least) end

---@return boolean
function StreamReader:at_eof() end

---Waits until the peer has ended or the connection broke, or this side was closed; reads nothing.
function StreamReader:wait_eof() end

---Gives it bytes to read; only of a reader that `asyncio.StreamReader` has made.
---@param data string
---@return boolean # false: more than twice the limit lies unread, and nobody waits for more: time for `drain`
function StreamReader:feed(data) end

---Ends what is fed.
---@param err? any each later read raises it; without it the end is an ordinary one
function StreamReader:feed_eof(err) end

---Waits until what was fed has been read, down to the limit.
function StreamReader:drain() end

---@class asyncio.StreamWriter
local StreamWriter = {}

---@param ... string | number
function StreamWriter:write(...) end

---@param list string[]
function StreamWriter:writelines(list) end

function StreamWriter:drain() end

---`write` and `drain` in one.
---@param ... string | number
function StreamWriter:send(...) end

---How many bytes are written and not with the kernel yet.
---@return integer
function StreamWriter:pending() end

function StreamWriter:write_eof() end

---@return boolean
function StreamWriter:can_write_eof() end

function StreamWriter:close() end

function StreamWriter:wait_closed() end

---@return boolean
function StreamWriter:is_closing() end

function StreamWriter:abort() end

---Gives up the descriptor, once what has been written is sent: it is the caller's, and the stream is closed.
---@return integer fd
---@return string unread
function StreamWriter:detach() end

---With TLS also "peercert" (see `asyncio.PeerCertificate`), "cipher", "tls_version", "alpn_protocol",
---"server_name", "session_reused" and "ssl_context".
---@param name string "peername", "sockname", "peercred", "socket"
---@param default? any
---@return any
function StreamWriter:get_extra_info(name, default) end

---@param marks { high?: integer, low?: integer }
function StreamWriter:set_write_buffer_limits(marks) end

---Goes on with TLS: sends what was written, and shakes hands.
---@async
---@param context asyncio.SSLContext | true true: a client's, the default one
---@param opts? { server_side?: boolean, server_hostname?: string, ssl_handshake_timeout?: number }
function StreamWriter:start_tls(context, opts) end

---@class asyncio.DatagramStats
---@field received integer given to a receiver
---@field sent integer
---@field dropped integer max_queue were waiting already
---@field kernel_dropped integer the system had no room
---@field oversized integer longer than max_size

---@class asyncio.DatagramEndpoint
local DatagramEndpoint = {}

---Waits for a datagram; an empty one is one, too.
---@return string data
---@return asyncio.Address address of its sender
function DatagramEndpoint:receive() end

---@return string? data nil where there is none
---@return asyncio.Address? address
function DatagramEndpoint:receive_nowait() end

---Waits for a datagram and takes those that are there then, too.
---@param n? integer at most so many (64)
---@return { [1]: string, [2]: asyncio.Address }[]
function DatagramEndpoint:receive_many(n) end

---Ends when the endpoint is closed.
---@return fun(): string?, asyncio.Address?
function DatagramEndpoint:iter() end

---Sends a datagram, at once; suspends only while the system has no room for it.
---@param data string
---@param address? asyncio.Address | { host: string, port: integer, scope_id?: integer } | { path: string }
function DatagramEndpoint:send(data, address) end

---@param data string
---@param address? asyncio.Address | { host: string, port: integer, scope_id?: integer } | { path: string }
---@return boolean sent false: there is no room
function DatagramEndpoint:send_nowait(data, address) end

---Sends several in one system call, in order.
---@param list ({ [1]: string, [2]?: asyncio.Address } | string)[]
---@param first? integer where in the list to begin (1)
---@return integer sent how many have left, from the first on
function DatagramEndpoint:send_many(list, first) end

---@param group string
---@param interface? string | integer name, number, or IPv4 address of its own
function DatagramEndpoint:join_group(group, interface) end

---@param group string
---@param interface? string | integer
function DatagramEndpoint:leave_group(group, interface) end

---@return asyncio.DatagramStats
function DatagramEndpoint:stats() end

---@param name "sockname" | "peername" | "socket"
---@param default? any
---@return any
function DatagramEndpoint:get_extra_info(name, default) end

---@return boolean
function DatagramEndpoint:is_closing() end

function DatagramEndpoint:close() end

---Waits until it is closed, whoever does that.
function DatagramEndpoint:wait_closed() end

---@class asyncio.ServerStats
---@field connections integer how many there are
---@field accepted integer how many have come
---@field failed integer of how many the handler failed
---@field reset integer of how many the handler lost its peer
---@field cut integer of how many a shutdown met the handler in the middle of a message
---@field aborted integer how many were ended by force
---@field handshakes? integer TLS: how many are under way
---@field handshakes_failed? integer TLS: how many have come to nothing
---@field paused boolean whether accepting pauses now

---@class asyncio.Server
local Server = {}

function Server:start_serving() end

function Server:serve_forever() end

---Accepts no more; who has no handler yet, since its handshake is under way, is closed.
function Server:close() end

function Server:close_clients() end

function Server:abort_clients() end

function Server:wait_closed() end

---Accepts no more, lets each handler send the answer that it owes, and ends. A reader comes to its end
---once what has come is read; what is left after the grace is aborted.
---@param grace? number seconds (30)
---@return integer aborted how many connections
function Server:shutdown(grace) end

---@return boolean
function Server:is_serving() end

---@return asyncio.Address[]
function Server:sockets() end

---Another context for the connections that come from now on.
---@param context asyncio.SSLContext
function Server:set_ssl_context(context) end

---What has become of its connections.
---@return asyncio.ServerStats
function Server:stats() end

---A drop-in for the standard `coroutine` table, in whose coroutines an await suspends the task.
---@class asyncio.coroutine
local inner = {}

---@param f function
---@return thread
function inner.create(f) end

---@param co thread
---@param ... any
---@return boolean ok
---@return any ...
function inner.resume(co, ...) end

---@param f function
---@return function
function inner.wrap(f) end

---@param ... any
---@return any ...
function inner.yield(...) end

---@param co thread
---@return "running" | "suspended" | "normal" | "dead"
function inner.status(co) end

---@param co thread
---@return boolean ok
---@return any err
function inner.close(co) end

---@return boolean
function inner.isyieldable() end

---@return thread running
---@return boolean ismain
function inner.running() end

-- Threads

---Threads that call functions, each with a Lua state of its own.
---@param max_workers? integer|asyncio.ExecutorOptions default: the number of cores and 4 more, 32 at most
---@return asyncio.ThreadPoolExecutor
function asyncio.ThreadPoolExecutor(max_workers) end

---@class asyncio.ExecutorOptions
---@field max_workers? integer
---@field initializer? fun() called first in each thread
---@field thread_name_prefix? string

---@class asyncio.ThreadPoolExecutor
local ThreadPoolExecutor = {}

---@param fn fun(...): ...
---@param ... any
---@return asyncio.Future
function ThreadPoolExecutor:submit(fn, ...) end

---@async
---@param fn fun(x: any): any
---@param list any[] `n`, if it is there, is its length
---@return any[] results with `n`
function ThreadPoolExecutor:map(fn, list) end

---@async
---@param opts? { wait?: boolean, cancel_futures?: boolean } wait: true, cancel_futures: false
function ThreadPoolExecutor:shutdown(opts) end

---Calls a function in a worker of the default executor, and waits for it.
---@async
---@param fn fun(...): ...
---@param ... any
---@return any ...
function asyncio.to_thread(fn, ...) end

---Whether the future of the job that makes this call was cancelled.
---@return boolean
function asyncio.thread_cancelled() end

---Blocks the thread.
---@param delay number seconds
function asyncio.blocking_sleep(delay) end

---Hands values from one Lua state to another.
---@param maxsize? integer|{ maxsize?: integer } 0: any number of items
---@return asyncio.Channel
function asyncio.Channel(maxsize) end

---@class asyncio.Channel
local Channel = {}

---@async
---@param item any
function Channel:put(item) end

---@param item any
function Channel:put_nowait(item) end

---@async
---@return any item
function Channel:get() end

---@return any item
function Channel:get_nowait() end

---@return fun(): integer?, any
function Channel:iter() end

---@param immediate? boolean throw away what is in it, too
function Channel:close(immediate) end

---@return integer
function Channel:qsize() end

---@class asyncio.Remote
local Remote = {}

---Has a function called in the loop that this belongs to, from any thread.
---@param fn fun(...)
---@param ... any
function Remote:call_soon_threadsafe(fn, ...) end

-- Context variables

---A value that each task has for itself, and passes on to what it starts.
---@param name string
---@param default? any what `get` returns where nothing was set
---@return asyncio.ContextVar
function asyncio.ContextVar(name, default) end

---@class asyncio.ContextVar
---@field name string
local ContextVar = {}

---Its value; raises an Error where nothing was set and there is no default.
---@param default? any
---@return any
function ContextVar:get(default) end

---@param value any
---@return asyncio.ContextToken token for `reset`; as a `<close>` variable it resets at the end of the block
function ContextVar:set(value) end

---@param token asyncio.ContextToken
function ContextVar:reset(token) end

---@class asyncio.ContextToken

return asyncio
