rows <- function(x, ...) unpack(read_images(x, ...))

test_that("an array of images becomes rows, pixel by pixel along the rows of the image", {
  x <- array(0, c(2, 28, 28))
  x[2, 3, 5] <- 1                                                  # image 2, row 3, column 5
  expected <- matrix(0, 2, 784)
  expected[2, 2 * 28 + 5] <- 1
  expect_identical(rows(x), expected)
  expect_identical(as_image_array(rows(x)), x)
})

test_that("the type says what pixels are, or `scale` does, and no pixel", {
  whole <- matrix(0L, 3, 784)
  whole[2, 7:8] <- c(2L, 255L)
  bytes <- array(as.raw(whole), dim(whole))
  doubles <- whole + 0
  expect_identical(rows(whole), bytes)
  expect_identical(rows(bytes), bytes)
  expect_identical(rows(doubles, scale = 255), bytes)
  expect_identical(rows(doubles / 255), doubles / 255)
  expect_identical(rows((doubles > 0) + 0), (doubles > 0) + 0)
  expect_identical(rows(doubles + 0.5, scale = 510), (doubles + 0.5) / 510)
  expect_match(refusal(rows(doubles)), "from 0 to 1.*x\\[2, 7\\].* is 2, and 1 more.*scale = 255")
  doubles <- doubles / 255
  doubles[3, 9] <- 1.0000001
  expect_match(refusal(rows(doubles)), "x\\[3, 9\\].* is 1.0000001\\..*pmin\\(x, 1\\)")
  expect_match(refusal(rows(whole, scale = 100)), "from 0 to 100.*x\\[2, 8\\].* is 255")
  expect_match(refusal(rows(whole, scale = -1)), "scale.* above 0")
  expect_match(refusal(rows("digits", scale = 2)), "scale.* can only be used with a matrix or an")
})

test_that("0 and 1 as whole numbers are asked about, raw or integer", {
  binary <- matrix(c(0L, 1L), 3, 784)
  for (x in list(binary, array(as.raw(binary), dim(binary)))) {
    expect_match(refusal(rows(x)), "none is above 1.*scale = 1.*scale = 255")
    expect_identical(rows(x, scale = 1), binary + 0)
    expect_identical(rows(x, scale = 255), array(as.raw(binary), dim(binary)))
  }
  expect_identical(rows(binary * 0L), array(raw(1), dim(binary)))   # black is black
})

test_that("images that are nearly black are not taken without a word", {
  counts <- matrix(rep_len(0:16, 3 * 784), 3)
  expect_warning(warn_of_black(read_images(counts)), "nearly black.* 16 of 255")
  expect_warning(warn_of_black(read_images(counts / 255 / 16)), "nearly black")
  expect_silent(warn_of_black(read_images(counts, scale = 16)))
  expect_silent(warn_of_black(read_images(noise_images)))
  skip_without_python()
  counts <- matrix(rep_len(0:16, 40 * 784), 40)
  expect_warning(vae_fit(counts, batch_size = 20, steps = 1, latent_dim = 2), "nearly black")
})

test_that("a data frame of numbers is the matrix of its columns", {
  whole <- matrix(rep_len(0:255, 3 * 784), 3)
  expect_identical(rows(as.data.frame(whole)), rows(whole))
  expect_identical(rows(as.data.frame(whole / 255)), whole / 255)
  expect_identical(rows(data.frame(x = c(1.5, 2), y = c(-3, 4))), matrix(c(1.5, 2, -3, 4), 2))
  found <- read_images(data.frame(x = 1, y = 2, row.names = "here"))
  expect_identical(found$rows, "here")
  expect_null(read_images(data.frame(x = 1, y = 2))$rows)
})

test_that("images of other sizes and channels are rows, channel by channel, and images again", {
  shape <- c(3L, 4L, 5L)
  x <- array(runif(2 * 60), c(2, 4, 5, 3))                         # [image, row, column, channel]
  found <- rows(x, shape = shape)
  expect_identical(dim(found), c(2L, 60L))
  expect_identical(found[2, (3 - 1) * 20 + (2 - 1) * 5 + 4], x[2, 2, 4, 3])
  expect_identical(as_image_array(found, shape), x)
  first <- aperm(x, c(1, 4, 2, 3))
  expect_identical(rows(first, shape = shape), found)
  expect_identical(as_image_array(found, shape, "first"), first)
  expect_identical(rows(found, shape = shape), found)
  grey <- x[, , , 1]
  expect_identical(as_image_array(rows(grey, shape = c(1L, 4L, 5L)), c(1L, 4L, 5L)), grey)
  refused <- function(x) refusal(read_images(x, shape = shape))
  expect_match(refused(x[, , , 1:2]), "60 columns, an array of n x 4 x 5 x 3.*2 x 4 x 5 x 2")
  expect_match(refused(x[1, , , ]), "For one image use `array\\(x, c\\(1, dim\\(x\\)\\)\\)`")
  expect_match(refused(matrix(0.5, 60, 2)), "Images are rows")
  expect_match(refused(matrix(0.5, 3, 784)), "matrix of 3 x 784")
  expect_match(refusal(read_images(grey[1, , ], shape = c(1L, 4L, 5L))), "c\\(1, 4, 5\\)")
})

test_that("points are as they are", {
  x <- matrix(c(-3, 300, 0.5, 2), 2)
  expect_identical(rows(x), x)
})

test_that("NA, NaN, infinite and out of range numbers are refused with their position", {
  x <- matrix(0, 3, 784)
  bad <- function(value) {
    x[2, 17] <- value
    refusal(vae_fit(x))
  }
  expect_match(bad(NA), "x\\[2, 17\\].* is NA\\.")
  expect_match(bad(NaN), "x\\[2, 17\\].* is NaN\\.")
  expect_match(bad(Inf), "x\\[2, 17\\].* is Inf\\.")
  expect_match(bad(256), "from 0 to 1.*x\\[2, 17\\].* is 256\\..*scale")
  expect_match(bad(-0.001), "x\\[2, 17\\].* is -0.001\\.")
  x <- array(0L, c(3, 28, 28))
  x[3, 1, 17] <- NA
  x[3, 28, 28] <- NA
  expect_match(refusal(vae_fit(x)), "x\\[3, 1, 17\\].* is NA, and 1 more")
  expect_match(refusal(vae_fit(matrix(c(1, NA, 2, 3), 2))), "x\\[2, 1\\].* is NA")
})

test_that("what is no images is one message that says what it is and what to do", {
  expect_match(refusal(vae_fit(list(1, 2))), "It is a list of 2.*n x 28 x 28")
  expect_match(refusal(vae_fit(iris[1:4])), "784 columns.*matrix of 150 x 4")
  expect_match(refusal(vae_fit(iris)), "data frame of 150 x 5 \\(numeric, factor\\).*784 columns")
  expect_match(refusal(vae_fit(data.frame(a = "x", noise_images[, , 1]))), "has 784 columns")
  expect_match(refusal(vae_fit(factor(1:3))), "factor with 3 levels.*labels")
  expect_match(refusal(vae_fit(matrix("a", 2, 784))), "matrix of 2 x 784")
  expect_match(refusal(vae_fit(matrix(0, 3, 783))), "784 columns.*matrix of 3 x 783")
  expect_match(refusal(vae_fit(matrix(0, 784, 3))), "Images are rows.*t\\(x\\)")
  expect_match(refusal(vae_fit(matrix(0, 28, 28))), "array\\(x, c\\(1, 28, 28\\)\\)")
  expect_match(refusal(vae_fit(array(0, c(28, 28, 3)))), "array of 28 x 28 x 3")
  expect_match(refusal(vae_fit(1:784)), "integer vector of length 784")
  expect_match(refusal(vae_fit(NULL)), "It is NULL")
  expect_match(refusal(vae_fit(matrix(0, 0, 784))), "no rows")
  expect_match(refusal(vae_fit(mean)), "It is a function")
  expect_match(refusal(vae_fit(c("a", "b"))), "one path")
})

test_that("what is said to do about images can be done, and gives those images", {
  images <- noise_images[1:5, , ] / 255
  flat <- as_rows(images)
  follow <- function(x) {
    code <- sub(".*?[uU]se `(.*?)`.*|.* as `(.*?)`.*", "\\1\\2", refusal(vae_fit(x)), perl = TRUE)
    rows(eval(parse(text = code), list(x = x)))
  }
  expect_equal(follow(lapply(1:5, function(i) images[i, , ])), flat)
  expect_equal(follow(list(images[1, , ])), flat[1, , drop = FALSE])
  expect_equal(follow(lapply(1:5, function(i) flat[i, ])), flat)
  expect_equal(follow(cbind(label = letters[1:5], as.data.frame(flat))), flat, ignore_attr = TRUE)
  expect_equal(follow(aperm(images, c(2, 3, 1))), flat)
  expect_equal(follow(t(flat)), flat)
  expect_equal(follow(flat + 0i), flat)
  expect_equal(follow(flat > 0.5), (flat > 0.5) + 0)
  expect_match(refusal(vae_fit(flat > 0.5)), "5 x 784 of type logical")
  skip_if_not_installed("Matrix")
  sparse <- getExportedValue("Matrix", "Matrix")(flat * (flat > 0.9), sparse = TRUE)
  expect_match(refusal(vae_fit(sparse)), "matrix of 5 x 784 of class dgCMatrix")
  expect_equal(follow(sparse), flat * (flat > 0.9), ignore_attr = TRUE)
})

test_that("paths: IDX files as MNIST has them, .rds, and what cannot be read", {
  folder <- tempfile()
  dir.create(file.path(folder, "MNIST", "raw"), recursive = TRUE)
  images <- array(sample(0:255, 5 * 784, TRUE), c(5, 28, 28))
  file <- file.path(folder, "MNIST", "raw", "train-images-idx3-ubyte")
  writeBin(c(as.raw(c(0, 0, 8, 3)), writeBin(c(5L, 28L, 28L), raw(), endian = "big"),
             as.raw(aperm(images, 3:1))), file)                    # row by row of each image
  expected <- rows(images)
  expect_identical(rows(folder), expected)
  expect_identical(rows(file), expected)
  saved <- tempfile(fileext = ".rds")
  saveRDS(images, saved)
  expect_identical(rows(saved), expected)
  expect_match(refusal(vae_fit(file.path(folder, "none"))), "There is no file or folder")
  expect_match(refusal(vae_fit(dirname(folder))), "cannot be read.*train-images-idx3-ubyte")
  writeBin(raw(9), file)
  expect_match(refusal(vae_fit(file)), "does not begin as an IDX file")
  writeLines("no rds", saved)
  expect_match(refusal(vae_fit(saved)), "cannot be read")
})
