process MULTIQC {
    label 'process_single'
    label 'image_report'
    publishDir "${task.ext.outdir}/multiqc", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep', pattern: '*.html'

    input:
    path content
    path config

    output:
    path 'multiqc_report.html', emit: html
    path 'multiqc_report_data', emit: data

    script:
    """
    multiqc \\
        --config ${config} \\
        --no-version-check \\
        --no-ai \\
        --no-megaqc-upload \\
        --no-ansi \\
        --force \\
        --filename multiqc_report.html \\
        --outdir . \\
        ${content}
    # Every section's content stands in the page once more, for a service that is switched off.
    sed -i 's|aiReportMetadataBase64 = "[^"]*"|aiReportMetadataBase64 = "e30="|' multiqc_report.html
    """

    stub:
    """
    mkdir multiqc_report_data
    touch multiqc_report.html
    """
}
