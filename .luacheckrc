std = "lua54"
self = false -- methods need not use theirs
max_line_length = 110
include_files = { "lua", "spec", "examples", "bench", "bin", "types", "*.rockspec" }

-- luaunit finds its tests among the globals, by their names; classes within tests have their own self.
files["spec"].ignore = { "11[123]/Test%u%w*", "432/self" }
files["*.rockspec"].std = "rockspec"
