std = "lua54"
self = false -- methods need not use theirs
max_line_length = 110
include_files = {
  "lua", "spec/**/*.lua", "examples/**/*.lua", "bench/**/*.lua", "bin", "types", "tools/**/*.lua",
  "*.rockspec", "src/*/*.rockspec",
}

files["lua/asyncio/page"].max_line_length = 120 -- CSS and JavaScript

files["tools"].max_line_length = 120

files["spec"] = {
  max_line_length = 120, -- what a test compares stands on one line
  ignore = {
    "11[123]/Test%u%w*", -- luaunit finds its tests among the globals, by their names
    "432/self",          -- classes within tests have their own
    "311", "331", "512", -- values that exist to be dropped, loops that are left at once: often the point
  },
}
files["types"].ignore = { "212", "241" } -- declarations only
files["*.rockspec"].std = "rockspec"
files["src/*/*.rockspec"].std = "rockspec"
