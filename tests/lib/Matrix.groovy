class Matrix {

    // A matrix as lines of CSV: the features, then a line a cell.
    static List<String> lines(String path) {
        return ask('read_h5ad(sys.argv[1]).to_df().astype(int).to_csv()', path)
    }

    // The columns that describe its cells.
    static List<String> columns(String path) {
        return ask('"\\n".join(read_h5ad(sys.argv[1]).obs.columns)', path)
    }

    private static List<String> ask(String expression, String path) {
        def python = ['python3', '-c', "import sys; from anndata import read_h5ad; print(${expression})".toString(), path].execute()
        def answer = new StringBuilder()
        def complaints = new StringBuilder()
        python.waitForProcessOutput(answer, complaints)
        assert python.exitValue() == 0 : complaints
        return answer.toString().trim().readLines()
    }
}
