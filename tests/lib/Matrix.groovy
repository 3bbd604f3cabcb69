class Matrix {

    // A sample's matrix as lines of CSV: the features, then a line a cell.
    static List<String> lines(String path) {
        def code = 'import anndata, sys; print(anndata.read_h5ad(sys.argv[1]).to_df().astype(int).to_csv(), end="")'
        def python = ['python3', '-c', code, path].execute()
        def text = new StringBuilder()
        def complaints = new StringBuilder()
        python.waitForProcessOutput(text, complaints)
        assert python.exitValue() == 0 : complaints
        return text.readLines()
    }
}
