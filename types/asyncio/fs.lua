---@meta asyncio.fs
-- Annotations for the Lua language server: files and folders by their paths.

---@class asyncio.fs
local fs = {}

---@alias asyncio.FileType "file" | "directory" | "link" | "fifo" | "socket" | "char" | "block" | "unknown"

---@class asyncio.Stat
---@field type asyncio.FileType
---@field size integer bytes
---@field mode integer the permission bits
---@field mtime number seconds since 1970: when it was changed, ...
---@field atime number ... read, ...
---@field ctime number ... when anything of it was changed, its mode, too
---@field ino integer
---@field dev integer
---@field nlink integer how many names it has
---@field uid integer
---@field gid integer

---@class asyncio.WriteOptions
---@field atomic? boolean all or nothing, and on the disk (false)
---@field mode? integer | string exactly that, whatever the umask

---@class asyncio.TempOptions
---@field dir? string `$TMPDIR`, or /tmp
---@field prefix? string ("lua_")
---@field suffix? string

---@class asyncio.WalkOptions
---@field on_error? fun(err: asyncio.OSError) in place of raising for a folder that can't be read

---@class asyncio.DirEntry
---@field name string
---@field type asyncio.FileType

--- Called, the next entry; a value for `<close>`, too.
---@class asyncio.DirScan
---@operator call: asyncio.DirEntry?

---@async
---@param path string
---@return string
function fs.read_file(path) end

---@async
---@param path string
---@param data string
---@param opts? asyncio.WriteOptions
function fs.write_file(path, data, opts) end

---@async
---@param from string
---@param to string
function fs.copy_file(from, to) end

---@async
---@param path string
---@return asyncio.Stat
function fs.stat(path) end

---@async
---@param path string
---@return asyncio.Stat
function fs.lstat(path) end

---@async
---@param path string
---@return boolean
function fs.exists(path) end

---@async
---@param path string
---@param rights? string letters of "rwx"
---@return boolean
function fs.access(path, rights) end

---@async
---@param path string
---@return string
function fs.real_path(path) end

---@async
---@param from string
---@param to string
function fs.rename(from, to) end

---@async
---@param path string
function fs.unlink(path) end

---@async
---@param path string
---@param new string
function fs.link(path, new) end

---@async
---@param target string
---@param path string
function fs.symlink(target, path) end

---@async
---@param path string
---@return string
function fs.read_link(path) end

---@async
---@param path string
---@param mode integer | string
function fs.chmod(path, mode) end

---@async
---@param path string
---@param uid? integer
---@param gid? integer
function fs.chown(path, uid, gid) end

---@async
---@param path string
---@param atime? number seconds since 1970; now
---@param mtime? number (atime)
function fs.utime(path, atime, mtime) end

---@async
---@param path string
---@param mode? integer | string
function fs.mkdir(path, mode) end

---@async
---@param path string
---@param mode? integer | string
function fs.makedirs(path, mode) end

---@async
---@param path string
function fs.rmdir(path) end

---@async
---@param path string
function fs.remove_tree(path) end

---@async
---@param opts? asyncio.TempOptions
---@return string path
function fs.mkdtemp(opts) end

---@async
---@param opts? asyncio.TempOptions
---@return asyncio.File
---@return string path
function fs.mkstemp(opts) end

---@async
---@param path string
---@return string[]
function fs.list_dir(path) end

---@async
---@param path string
---@return asyncio.DirScan next
---@return nil
---@return nil
---@return asyncio.DirScan closes what `for` closes
function fs.scan_dir(path) end

---@async
---@param path string
---@param opts? asyncio.WalkOptions
---@return fun(): string?, string[], string[]
function fs.walk(path, opts) end

---@class asyncio.FsEvent
---@field kind "created" | "changed" | "removed" | "renamed" | "rescan"
---@field path string
---@field from? string of "renamed": the former path

---@class asyncio.WatchOptions
---@field recursive? boolean (false)
---@field debounce? number (0) seconds

---@class asyncio.Watch
---@overload fun(): asyncio.FsEvent?
local Watch = {}

---Ends it.
function Watch:close() end

---@async
---@param path string
---@param opts? asyncio.WatchOptions
---@return asyncio.Watch
---@return nil
---@return nil
---@return asyncio.Watch
function fs.watch(path, opts) end

return fs
