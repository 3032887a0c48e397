test_that("lists within I() are arrays, named ones objects", {
  expect_identical(
    program_json(list(a = I(list(list(b = 1), list())), c = I(character()), d = NULL, e = TRUE)),
    "{\"a\": [{\"b\": 1}, {}], \"c\": [], \"d\": null, \"e\": true}")
  expect_identical(jsonlite::fromJSON(program_json(list(x = 0.1)))$x, 0.1)
})
